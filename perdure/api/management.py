"""Management URLs of a durable operation that its owner may have: the same keys and answers as the built-in ones.

The built-in URLs carry a key to the whole task hub, so only admins are handed those. Everybody else gets URLs of
ours, which check who owns the operation and then pass the request on to the built-in one.
"""

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from perdure.api.bodies import MAX_BODY_BYTES, read_body
from perdure.api.problems import NotFound, Unavailable
from perdure.domain.principal import Principal

if TYPE_CHECKING:
    import httpx

TIMEOUT = 30.0
"""Seconds to wait for the built-in URL's answer."""

URLS = {
    "statusQueryGetUri": "/status",
    "sendEventPostUri": "/raiseEvent/{eventName}",
    "terminatePostUri": "/terminate?reason={text}",
    "rewindPostUri": "/rewind?reason={text}",
    "purgeHistoryDeleteUri": "/status",
    "restartPostUri": "/restart",
    "suspendPostUri": "/suspend?reason={text}",
    "resumePostUri": "/resume?reason={text}",
}
"""Ours, below the operation's own path, by the names of the built-in ones."""

ASKED = ("showHistory", "showHistoryOutput", "showInput", "returnInternalServerErrorOnFailure")
"""Query parameters that reach the built-in URL."""

PASSED_ON = ("content-type", "retry-after")
"""Headers of the built-in answer that reach the caller. Its Location would tell the key."""


def urls_for(who: Principal, built_in: Mapping[str, str], path: str, public: str | None) -> dict[str, str]:
    """The URLs by which a caller follows and manages an operation of theirs; see `own_urls`."""
    return dict(built_in) if who.may("admin") else own_urls(built_in, path, public)


def own_urls(built_in: Mapping[str, str], path: str, public: str | None) -> dict[str, str]:
    """Our URLs for an operation.

    Args:
        built_in: What the durable client says, with `id`.
        path: Of the operation in the API, as in `agent/task/0199...`.
        public: What clients call this deployment, as in `https://agents.example.com`; None when that is what the task
            hub's own URLs say.
    """
    theirs = urlsplit(built_in["statusQueryGetUri"])
    base = f"{public or f'{theirs.scheme}://{theirs.netloc}'}/api/{path}"
    return {"id": built_in["id"]} | {name: f"{base}{URLS[name]}" for name in built_in if name in URLS}


async def pass_on(request: Request, url: str, own_status: str) -> Response:
    """Send a request on to a built-in URL and relay the answer.

    Args:
        url: The built-in one, with its key and perhaps placeholders.
        own_status: Our status URL, which takes the place of theirs.

    Raises:
        NotFound: The task hub does not know the operation any more, or no event can be called so.
        Unavailable: It does not answer.
    """
    import httpx

    event = request.path_params.get("event_name", "")
    if event in (".", ".."):
        # In a path these are no names, and there is no other way to write them.
        raise NotFound(f"An event cannot be called {event!r}.")
    said = {"{eventName}": event, "{text}": request.query_params.get("reason", "")}
    for placeholder, value in said.items():
        url = url.replace(placeholder, quote(value, safe=""))
    asked = [(name, value) for name, value in request.query_params.multi_items() if name in ASKED]
    query = "&".join(part for part in (urlsplit(url).query, urlencode(asked)) if part)
    # As it came, in bytes: it need not be ASCII.
    headers = [(name, value) for name, value in request.headers.raw if name == b"content-type"]
    try:
        answer = await _client().request(
            request.method,
            urlsplit(url)._replace(query=query).geturl(),
            content=await read_body(request, MAX_BODY_BYTES),
            headers=headers,
        )
    except httpx.HTTPError as error:
        raise Unavailable("The task hub does not answer. Try again.") from error
    if answer.status_code == HTTPStatus.NOT_FOUND:
        raise NotFound("The task hub does not know this operation any more: its history was purged.")
    relayed = {name: value for name, value in answer.headers.items() if name in PASSED_ON}
    if "location" in answer.headers:
        relayed["location"] = own_status
    return Response(answer.content, answer.status_code, relayed)


@cache
def _client() -> "httpx.AsyncClient":
    import httpx

    return httpx.AsyncClient(timeout=TIMEOUT)
