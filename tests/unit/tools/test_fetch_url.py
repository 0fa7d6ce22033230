"""Reading the public web and nothing else. Pages come from a real server; only names and policy are made up."""

import asyncio
import contextlib
import gzip
import ipaddress
import json
import ssl
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from activities.tools.fetch_url import fetch_url
from perdure.tools import ToolContext, ToolError
from perdure.tools.runner import run_tool
from perdure.tools.shipped import web_page
from perdure.tools.shipped.addresses import Address, Network, is_public
from perdure.tools.shipped.web_page import MAX_BODY_BYTES, Page, fetch_page

type Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Site:
    """A server on loopback that plays a public site under any name that ends in .example."""

    port: int
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    resolved: list[str] = field(default_factory=list)
    hang: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, host: str = "site.example") -> str:
        return f"http://{host}:{self.port}{path}"

    def serve(self, path: str, body: bytes | str, content_type: str = "text/html", **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = (200, {"Content-Type": content_type, **named}, data)

    def redirect(self, path: str, target: str) -> None:
        self.answers[path] = (302, {"Location": target}, b"")

    async def resolve(self, host: str, port: int) -> list[str]:
        self.resolved.append(host)
        answers = self.names.get(host, [["127.0.0.1"]] if host.endswith(".example") else [[host]])
        return answers[min(self.resolved.count(host), len(answers)) - 1]

    def allows(self, address: Address) -> bool:
        return address == ipaddress.ip_address("127.0.0.1") or is_public(address)

    def fetch(self, url: str, max_text_bytes: int = 50_000) -> Page:
        network = Network(self.resolve, self.allows, frozenset({self.port}))
        return asyncio.run(fetch_page(url, network, max_text_bytes))

    def refusal(self, url: str) -> str:
        with pytest.raises(ToolError) as refused:
            self.fetch(url)
        return str(refused.value)


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append((self.path, dict(self.headers)))
            if self.path == "/hang":
                site.hang.wait(30)
            status, headers, body = site.answers.get(self.path, (404, {"Content-Type": "text/plain"}, b"not here"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    site = Site(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield site
    site.hang.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_page_is_reduced_to_its_text(site: Site) -> None:
    site.serve("/a", "<title>A &amp; B</title><script>no()</script><h1>Head</h1><p>One<br>two</p><ul><li>x<li>y</ul>")
    page = site.fetch(site.url("/a"))
    assert page == Page(site.url("/a"), 200, "text/html", "A & B", "# Head\n\nOne\ntwo\n\n- x\n- y", truncated=False)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain; charset=utf-8", "application/ld+json", ""])
def test_other_text_is_returned_as_it_is(site: Site, content_type: str) -> None:
    site.serve("/a", '{"é": "<b>"}', content_type)
    assert site.fetch(site.url("/a")).text == '{"é": "<b>"}'


@pytest.mark.parametrize("content_type", ["application/pdf", "image/png", "application/octet-stream"])
def test_what_is_no_text_is_refused_by_name(site: Site, content_type: str) -> None:
    site.serve("/a", b"\x89\0", content_type)
    assert f"holds {content_type}, which cannot be read as text" in site.refusal(site.url("/a"))


def test_binary_data_without_a_type_is_refused(site: Site) -> None:
    site.serve("/a", b"\x89\0", "")
    assert "binary data" in site.refusal(site.url("/a"))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html; charset=iso-8859-1", "<p>é".encode("latin-1")),
        ("text/html", b'<meta charset="windows-1252"><p>' + "é".encode("cp1252")),
        ("text/html; charset=punycode", "<p>é".encode()),
        ("text/html; charset=nonsense", "<p>é".encode()),
        ("text/html", "\ufeff<p>é".encode()),
    ],
)
def test_the_character_set_is_the_one_the_page_names(site: Site, content_type: str, body: bytes) -> None:
    site.serve("/a", body, content_type)
    assert site.fetch(site.url("/a")).text == "é"


def test_an_error_page_comes_with_its_status(site: Site) -> None:
    page = site.fetch(site.url("/nothing"))
    assert (page.status, page.text) == (404, "not here")


def test_the_server_sees_the_name_it_was_asked_for(site: Site) -> None:
    site.serve("/a", "x")
    site.fetch(site.url("/a"))
    assert site.requests[0][1]["Host"] == f"site.example:{site.port}"


def test_redirects_are_followed(site: Site) -> None:
    site.redirect("/a", "/b")
    site.redirect("/b", site.url("/c", "other.example"))
    site.serve("/c", "<p>there")
    page = site.fetch(site.url("/a"))
    assert (page.url, page.text) == (site.url("/c", "other.example"), "there")


def test_the_sixth_redirect_is_one_too_many(site: Site) -> None:
    site.redirect("/a", "/a")
    assert "redirects more than 5 times" in site.refusal(site.url("/a"))
    assert len(site.requests) == 6


@pytest.mark.parametrize(
    "target", ["http://10.0.0.1:{port}/", "http://[::1]:{port}/", "http://169.254.169.254:{port}/x"]
)
def test_a_redirect_to_a_private_address_is_refused(site: Site, target: str) -> None:
    site.redirect("/a", target.format(port=site.port))
    assert "not on the public internet" in site.refusal(site.url("/a"))


def test_over_tls_the_certificate_is_checked_for_the_name_though_the_address_is_connected_to(tmp_path: Path) -> None:
    asked: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(self_signed(tmp_path, "site.example"))
    tls.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def scenario() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        async with server:
            network = Network(resolve, lambda _: True, frozenset({port}))
            await fetch_page(f"https://site.example:{port}/", network, 1000)

    with pytest.raises(ToolError, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(scenario())
    assert asked == ["site.example"]


def self_signed(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now, now + timedelta(1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    unencrypted = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("target", ["ftp://site.example/", "file:///etc/passwd", "http://u:p@site.example:{port}/"])
def test_a_redirect_to_what_cannot_be_fetched_is_refused(site: Site, target: str) -> None:
    site.redirect("/a", target.format(port=site.port))
    assert site.refusal(site.url("/a"))
    assert len(site.requests) == 1


def test_the_address_that_was_checked_is_the_one_connected_to(site: Site) -> None:
    # A second look-up would be answered with a private address.
    site.names["rebind.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    site.serve("/a", "<p>here")
    assert site.fetch(site.url("/a", "rebind.example")).text == "here"
    assert site.resolved == ["rebind.example"]


def test_a_name_that_turns_private_between_redirects_is_refused(site: Site) -> None:
    site.names["rebind.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    site.redirect("/a", "/b")
    assert "not on the public internet" in site.refusal(site.url("/a", "rebind.example"))


def test_one_private_address_among_public_ones_refuses_the_host(site: Site) -> None:
    site.names["mixed.example"] = [["127.0.0.1", "192.168.1.1"]]
    assert "not on the public internet" in site.refusal(site.url("/", "mixed.example"))
    assert site.requests == []


def test_proxies_named_in_the_environment_are_ignored(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    site.serve("/a", "<p>direct")
    assert site.fetch(site.url("/a")).text == "direct"


def test_gzip_is_unpacked(site: Site) -> None:
    site.serve("/a", gzip.compress(b"<p>packed"), Content_Encoding="gzip")
    assert site.fetch(site.url("/a")).text == "packed"


def test_a_compressed_bomb_is_never_unpacked_beyond_the_limit(site: Site) -> None:
    site.serve("/a", gzip.compress(b"a" * (20 * MAX_BODY_BYTES)), "text/plain", Content_Encoding="gzip")
    tracemalloc.start()
    try:
        page = site.fetch(site.url("/a"), max_text_bytes=1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert page.truncated
    # The body is held as received, as bytes and as text at the same time.
    assert peak < 8 * MAX_BODY_BYTES


@pytest.mark.parametrize(("coding", "body"), [("br", b"x"), ("gzip, gzip", b"x"), ("gzip", b"x" + zlib.compress(b"y"))])
def test_compression_that_was_not_asked_for_or_is_damaged_is_refused(site: Site, coding: str, body: bytes) -> None:
    site.serve("/a", body, Content_Encoding=coding)
    assert site.refusal(site.url("/a"))


def test_a_long_text_is_cut_and_says_so(site: Site) -> None:
    site.serve("/a", '"é\n' * 1000, "text/plain")
    page = site.fetch(site.url("/a"), max_text_bytes=1000)
    assert page.truncated
    assert 990 <= len(json.dumps(page.text, ensure_ascii=False).encode()) <= 1000


def test_a_server_that_never_answers_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_page, "TOTAL_SECONDS", 0.2)
    assert "did not arrive within 0.2 s" in site.refusal(site.url("/hang"))


def test_a_closed_port_is_told(site: Site) -> None:
    async def closed(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    network = Network(closed, site.allows, frozenset({1}))
    with pytest.raises(ToolError, match="could not be fetched"):
        asyncio.run(fetch_page("http://site.example:1/", network, 1000))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::1]/",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://168.63.129.16/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.0.1/",
        "http://100.64.0.1/",
        "http://192.0.0.192/",
        "http://198.18.0.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b:1::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    ],
)
def test_the_tool_itself_refuses_every_address_that_is_not_public(context: ToolContext, url: str) -> None:
    outcome = asyncio.run(run_tool(fetch_url, json.dumps({"url": url}), context))
    assert outcome.is_error
    assert "not on the public internet" in outcome.content or "not a valid URL" in outcome.content


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://example.com/", "Only http and https"),
        ("file:///etc/passwd", "Only http and https"),
        ("javascript:alert(1)", "Only http and https"),
        ("example.com", "Only http and https"),
        ("http:///x", "names no host"),
        ("http://user:secret@example.com/", "user name or password"),
        ("http://example.com:22/", "Port 22 cannot be fetched from; the ports allowed are 80, 443, 8080, 8443"),
        ("http://example.com:0/", "Port 0"),
        ("http://[::1", "not a valid URL"),
        ("http://\ud800/", "not a valid URL"),
        ("http://example.com/" + "x" * 3000, "longer than 2000"),
        ("http://nowhere.invalid/", "could not be found"),
    ],
)
def test_the_tool_refuses_what_is_no_public_address(url: str, says: str) -> None:
    with pytest.raises(ToolError, match=says):
        asyncio.run(fetch_url(url))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::1"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_the_largest_page_fits_the_result(context: ToolContext, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/" + "x" * 1900
    site.serve(path, "<title>" + "\x01" * 5000 + "</title><p>" + '\x01"' * 100_000, "text/html;" + "x" * 5000)
    network = Network(site.resolve, site.allows, frozenset({site.port}))
    monkeypatch.setattr("perdure.tools.shipped.addresses.PUBLIC_INTERNET", network)
    outcome = asyncio.run(run_tool(fetch_url, json.dumps({"url": site.url(path)}), context))
    assert not outcome.is_error
    assert json.loads(outcome.content)["truncated"]
