"""Fetching one page for a model: bounded in time, size and redirects, and reduced to text.

1. Follow redirects by hand, each through the checked transport.
2. Refuse what is no text before reading it.
3. Read up to a limit, counted after decompression.
4. Decode, reduce HTML to what a person would read, and cut to what fits the tool's result.
"""

import asyncio
import codecs
import json
import re
import zlib
from dataclasses import dataclass

import httpx

from perdure.tools.own_thread import start_thread
from perdure.tools.shipped.addresses import Network
from perdure.tools.shipped.checked_transport import CONNECT_SECONDS, READ_SECONDS, CheckedTransport
from perdure.tools.shipped.readable_html import Readable, readable
from perdure.tools.tool import ToolError

TOTAL_SECONDS = 20.0
MAX_REDIRECTS = 5
MAX_URL_CHARACTERS = 2000
MAX_TITLE_CHARACTERS = 300
MAX_BODY_BYTES = 2 * 1024 * 1024
"""Decompressed; the median page of the web has far less HTML than this (HTTP Archive, 2024: about 30 KB)."""

_HEADERS = {
    "User-Agent": "Perdure (fetch_url tool)",
    "Accept": "text/html,application/xhtml+xml,application/json;q=0.9,text/*;q=0.8",
    # The one coding that can be undone piece by piece under a size limit with what Python has.
    "Accept-Encoding": "gzip",
}
_HTML = {"text/html", "application/xhtml+xml"}
_TEXTUAL = re.compile(r"text/.*|application/(.*\+)?(json|xml|yaml|x-yaml|toml|javascript|ld\+json|x-ndjson|xhtml\+xml)")
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_TEXT_CODECS = re.compile(r"utf|iso|cp|windows|latin|ascii|gb|big5|euc|shift|koi8|mac-|tis|johab|hz")
"""Python has codecs that are no character sets, and some that take quadratic time."""


@dataclass(frozen=True, slots=True)
class Page:
    """A fetched page.

    Attributes:
        url: Where it was found after redirects.
        title: Title of an HTML page; empty for anything else.
        truncated: Whether there was more text than is returned.
    """

    url: str
    status: int
    content_type: str
    title: str
    text: str
    truncated: bool


async def fetch_page(url: str, network: Network, max_text_bytes: int) -> Page:
    """Fetch a page and reduce it to text.

    Args:
        url: An http or https address.
        network: What may be reached.
        max_text_bytes: Size the text may have when it is written as a JSON string.

    Raises:
        ToolError: It may not or cannot be fetched; the message says why.
    """
    scope = asyncio.timeout(TOTAL_SECONDS)
    try:
        async with scope, _client(network) as client:
            return await _follow(client, url, max_text_bytes)
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise ToolError(f"The page did not arrive within {TOTAL_SECONDS:g} s; try another source.") from error
    except httpx.InvalidURL as error:
        raise ToolError(
            f"That is not a valid URL ({error}); write it in full, such as https://example.com/."
        ) from error
    except httpx.TimeoutException as error:
        raise ToolError("The server did not answer in time; try again later or try another source.") from error
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise ToolError(
            f"The page could not be fetched: {reason[:200]}; check the URL or try another source."
        ) from error


def _client(network: Network) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=CheckedTransport(network),
        # A proxy would look the host up itself, past our check. httpx uses none beside a transport that is given, but
        # that is its choice, and this is ours.
        trust_env=False,
        headers=_HEADERS,
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
    )


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url.strip())
    except (httpx.InvalidURL, ValueError) as error:
        raise ToolError(
            f"That is not a valid URL ({error}); write it in full, such as https://example.com/."
        ) from error
    if address.scheme not in ("http", "https"):
        raise ToolError("Only http and https addresses can be fetched; write it in full, such as https://example.com/.")
    if not address.host:
        raise ToolError("The URL names no host; write it in full, such as https://example.com/page.")
    return address


async def _follow(client: httpx.AsyncClient, url: str, max_text_bytes: int) -> Page:
    request = client.build_request("GET", _address(url))
    for _ in range(MAX_REDIRECTS + 1):
        if len(str(request.url)) > MAX_URL_CHARACTERS:
            raise ToolError(f"The URL is longer than {MAX_URL_CHARACTERS} characters; use a shorter one.")
        # Not follow_redirects: httpx would read the body of a redirect to its end, however long it is.
        response = await client.send(request, stream=True)
        try:
            if response.next_request is None:
                return await _page(response, max_text_bytes)
            request = response.next_request
        finally:
            await response.aclose()
    raise ToolError(f"The page redirects more than {MAX_REDIRECTS} times; try another source.")


async def _page(response: httpx.Response, max_text_bytes: int) -> Page:
    content_type = response.headers.get("Content-Type", "")[:200]
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type and not _TEXTUAL.fullmatch(media_type):
        raise ToolError(f"The URL holds {media_type}, which cannot be read as text; look for an HTML or text version.")
    body, complete = await _body(response)
    if not media_type and b"\0" in body:
        raise ToolError("The URL holds binary data, which cannot be read as text; look for an HTML or text version.")

    is_html = media_type in _HTML
    source = _decoded(body, _charset(response, body) if is_html else response.charset_encoding)
    # In a thread: a large page takes a second, and everything else on the event loop would wait for it.
    reduced = await start_thread(lambda: readable(source), "readable page") if is_html else Readable("", source)
    text = _cut(reduced.text, max_text_bytes)
    return Page(
        url=str(response.url),
        status=response.status_code,
        content_type=content_type,
        title=reduced.title[:MAX_TITLE_CHARACTERS],
        text=text,
        truncated=not complete or len(text) < len(reduced.text),
    )


async def _body(response: httpx.Response) -> tuple[bytes, bool]:
    """Read up to the limit; the second value says whether that was all."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip", ""):
        raise ToolError(f"The server sends the page as {coding[:40]}, which was not asked for; try another source.")
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if "gzip" in coding else None
    body = bytearray()
    try:
        async for received in response.aiter_raw():
            # Unpacking stops at the limit: 64 KB may hold 64 MB.
            wanted = MAX_BODY_BYTES + 1 - len(body)
            body += unpack.decompress(received, wanted) if unpack else received[:wanted]
            if len(body) > MAX_BODY_BYTES:
                return bytes(body[:MAX_BODY_BYTES]), False
    except zlib.error as error:
        raise ToolError("The server's compressed answer is damaged; try again or try another source.") from error
    return bytes(body), True


def _charset(response: httpx.Response, body: bytes) -> str | None:
    if response.charset_encoding:
        return response.charset_encoding
    # The HTML standard has authors name it within the first 1024 bytes.
    named = _META_CHARSET.search(body[:1024])
    return named[1].decode("ascii", "replace") if named else None


def _decoded(body: bytes, charset: str | None) -> str:
    name = (charset or "utf-8").lower()
    try:
        codec = codecs.lookup(name).name if _TEXT_CODECS.match(name) else "utf-8"
    except LookupError:
        codec = "utf-8"
    return body.decode("utf-8-sig" if codec == "utf-8" else codec, "replace")


def _cut(text: str, max_bytes: int) -> str:
    """The longest beginning whose JSON form fits; escapes make that longer than the text itself."""
    low, high = 0, min(len(text), max_bytes)
    while low < high:
        middle = (low + high + 1) // 2
        if len(json.dumps(text[:middle], ensure_ascii=False).encode("utf-8", "surrogatepass")) <= max_bytes:
            low = middle
        else:
            high = middle - 1
    return text[:low]
