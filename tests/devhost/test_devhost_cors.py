"""Which pages may call an app from a browser."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from devhost.config import ConfigError, load_cors
from tests.devhost.conftest import APPS
from tests.devhost_process import DevHost

PAGE = "https://app.example"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-api-key"}


@pytest.fixture(scope="module")
def open_to_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevHost]:
    folder = tmp_path_factory.mktemp("cors") / "app"
    shutil.copytree(APPS / "classic", folder)
    host = {"CORS": f"{PAGE},https://other.example", "CORSCredentials": True}
    (folder / "local.settings.json").write_text(json.dumps({"Values": {}, "Host": host}))
    with DevHost(folder) as running:
        yield running


def allowed(response: httpx.Response) -> str | None:
    return response.headers.get("Access-Control-Allow-Origin")


def test_no_page_of_another_origin_is_let_in_unless_configured(classic: DevHost) -> None:
    assert allowed(httpx.get(f"{classic.url}/api/greetings", headers={"Origin": PAGE})) is None
    preflight = httpx.options(f"{classic.url}/api/greetings", headers=PREFLIGHT)
    assert allowed(preflight) is None


def test_a_configured_page_is_let_in_with_its_headers_and_no_other_is(open_to_page: DevHost) -> None:
    url = f"{open_to_page.url}/api/greetings"
    assert allowed(httpx.get(url, headers={"Origin": PAGE})) == PAGE
    preflight = httpx.options(url, headers=PREFLIGHT)
    assert (preflight.status_code, allowed(preflight)) == (200, PAGE)
    assert preflight.headers["Access-Control-Allow-Credentials"] == "true"
    assert "x-api-key" in preflight.headers["Access-Control-Allow-Headers"].lower()
    assert allowed(httpx.get(url, headers={"Origin": "https://evil.example"})) is None
    assert httpx.options(url, headers={**PREFLIGHT, "Origin": "https://evil.example"}).status_code == 400


@pytest.mark.parametrize(
    "host", [[], {"CORS": ["x"]}, {"CORSCredentials": "yes"}, {"CORS": "*", "CORSCredentials": True}]
)
def test_a_cors_setting_that_makes_no_sense_is_refused(tmp_path: Path, host: Any) -> None:
    (tmp_path / "local.settings.json").write_text(json.dumps({"Host": host}))
    with pytest.raises(ConfigError, match=r"Host|CORS"):
        load_cors(tmp_path)
