"""Function keys, where --enable-auth asks for them."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.devhost.conftest import APPS, MANAGEMENT
from tests.devhost_process import DevHost


@pytest.fixture(scope="module")
def guarded() -> Iterator[DevHost]:
    with DevHost(APPS / "classic", args=["--enable-auth"]) as host:
        yield host


def printed_key(host: DevHost, label: str) -> str:
    found = re.search(rf"{re.escape(label)}(\S+)$", host.output, re.MULTILINE)
    assert found is not None, host.output
    return found[1]


def test_an_anonymous_function_needs_no_key(guarded: DevHost) -> None:
    assert httpx.get(f"{guarded.url}/api/greetings").status_code == 200


def test_a_function_opens_with_the_key_in_its_printed_url(guarded: DevHost) -> None:
    assert httpx.get(f"{guarded.url}/api/guarded").status_code == 401
    assert httpx.get(f"{guarded.url}/api/guarded?code=wrong").status_code == 401
    assert httpx.get(f"{guarded.url}/api/guarded?code={printed_key(guarded, '/api/guarded?code=')}").text == "in"


def test_a_key_may_come_in_a_header(guarded: DevHost) -> None:
    host_key = {"x-functions-key": printed_key(guarded, "host: ")}
    assert httpx.get(f"{guarded.url}/api/guarded", headers=host_key).text == "in"


def test_the_admin_level_takes_the_master_key_only(guarded: DevHost) -> None:
    host_key, master = printed_key(guarded, "host: "), printed_key(guarded, "master: ")
    assert httpx.get(f"{guarded.url}/api/master_only?code={host_key}").status_code == 401
    assert httpx.get(f"{guarded.url}/api/master_only?code={master}").text == "in"
    assert httpx.get(f"{guarded.url}/admin/host/status").status_code == 401
    assert httpx.get(f"{guarded.url}/admin/host/status?code={master}").status_code == 200


def test_the_management_api_takes_its_own_key(guarded: DevHost) -> None:
    instances = f"{guarded.url}{MANAGEMENT}/instances"
    assert httpx.get(instances).status_code == 401
    assert httpx.get(f"{guarded.url}{MANAGEMENT}/entities").status_code == 401
    assert httpx.get(f"{instances}?code={printed_key(guarded, 'management API: ')}").json() == []
