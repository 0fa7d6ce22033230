"""HTTP triggers of the classic model: ``func.HttpRequest`` in, ``func.HttpResponse`` out."""

import re

import httpx
import pytest

from tests.devhost_process import DevHost


def test_a_request_reaches_the_function_and_its_response_comes_back(classic: DevHost) -> None:
    response = httpx.post(f"{classic.url}/api/echo", params={"word": "hi"}, content=b"\x00body")
    assert response.status_code == 201
    assert response.content == b"\x00body"
    assert response.headers["x-method"] == "POST"
    assert response.headers["x-word"] == "hi"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("items/12", "item 12"),
        ("items/ab", "named ab"),
        ("items/special", "special"),
        ("ITEMS/12", "item 12"),
        ("files/a/b%20c", "file a/b c"),
        ("greetings", "hello nobody"),
        ("greetings/bo", "hello bo"),
        ("greetings/%0D", "hello \r"),
        ("greetings/a%0Ab", "hello a\nb"),
        ("files/a%0Ab", "file a\nb"),
    ],
)
def test_a_route_is_found_by_its_template(classic: DevHost, path: str, answer: str) -> None:
    response = httpx.get(f"{classic.url}/api/{path}")
    assert (response.status_code, response.text) == (200, answer)


@pytest.mark.parametrize("path", ["nowhere", "items/abcdefg", "items/1a"])
def test_a_path_that_no_route_accepts_is_not_found(classic: DevHost, path: str) -> None:
    assert httpx.get(f"{classic.url}/api/{path}").status_code == 404


def test_a_method_that_the_function_does_not_serve_is_not_found(classic: DevHost) -> None:
    assert httpx.delete(f"{classic.url}/api/echo").status_code == 404


def test_a_cookie_keeps_its_attributes(classic: DevHost) -> None:
    cookie = httpx.get(f"{classic.url}/api/cookies").headers["set-cookie"]
    assert cookie == "flavour=oat; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"


def test_the_trace_of_the_caller_reaches_the_function(classic: DevHost) -> None:
    sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert httpx.get(f"{classic.url}/api/trace", headers={"traceparent": sent}).text == sent


def test_a_request_without_a_trace_gets_one(classic: DevHost) -> None:
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", httpx.get(f"{classic.url}/api/trace").text)


def test_an_exception_becomes_a_500_and_its_traceback_is_logged(classic: DevHost) -> None:
    response = httpx.get(f"{classic.url}/api/failing")
    assert response.status_code == 500
    assert "LookupError: no such thing" in response.text
    classic.wait_for_line("Executed 'failing' (Failed")
    classic.wait_for_line('raise LookupError("no such thing")')


def test_what_a_function_logs_is_shown_under_its_name(classic: DevHost) -> None:
    httpx.get(f"{classic.url}/api/echo", params={"word": "marzipan"})
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} INFO +\[echo\]", classic.wait_for_line("echo says marzipan"))


def test_keys_are_not_asked_for_unless_auth_is_enabled(classic: DevHost) -> None:
    assert httpx.get(f"{classic.url}/api/guarded").text == "in"


def test_the_root_and_the_host_status_answer(classic: DevHost) -> None:
    assert "up and running" in httpx.get(classic.url).text
    assert httpx.get(f"{classic.url}/admin/host/status").json()["state"] == "Running"
