"""Which endpoint is asked, and with which credential."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from perdure.models.openai import OpenAISettings
from perdure.models.port import ModelRejected
from tests.openai_server import Answer, OpenAIServer
from tests.unit.models.test_openai import KEY, ask, at


def test_a_compatible_endpoint_without_a_key_gets_a_placeholder() -> None:
    with OpenAIServer([Answer("hi")]) as server:
        ask(at(server, api_key=None))
    assert server.headers[0]["authorization"] == "Bearer none"


def test_azure_with_a_dated_version_is_asked_by_deployment_and_key() -> None:
    with OpenAIServer([Answer("hi")]) as server:
        ask(OpenAISettings(None, KEY, server.azure_endpoint, "2024-10-21", 5.0))
    assert server.urls == ["/openai/deployments/gpt-test/chat/completions?api-version=2024-10-21"]
    assert server.headers[0]["api-key"] == KEY


def test_azure_without_a_version_is_asked_by_its_v1_api() -> None:
    with OpenAIServer([Answer("hi")]) as server:
        ask(OpenAISettings(None, KEY, server.azure_endpoint, None, 5.0))
    assert server.urls == ["/openai/v1/chat/completions"]


@pytest.fixture
def managed_identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The token endpoint that a function app on Azure has beside it; yields the scopes it was asked for."""
    asked: list[str] = []

    class TokenEndpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            expires = int((datetime.now(UTC) + timedelta(hours=2)).timestamp())
            body = json.dumps(
                {"access_token": "entra-token", "expires_on": str(expires), "token_type": "Bearer", "resource": "r"}
            )
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), TokenEndpoint) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "header")
        yield asked
        server.shutdown()


@pytest.mark.parametrize("version", [None, "2024-10-21"])
def test_azure_without_a_key_uses_the_apps_managed_identity(managed_identity: list[str], version: str | None) -> None:
    with OpenAIServer([Answer("hi")]) as server:
        reply = ask(OpenAISettings(None, None, server.azure_endpoint, version, 5.0))
    assert reply.text == "hi"
    assert server.headers[0]["authorization"] == "Bearer entra-token"
    assert "cognitiveservices.azure.com" in managed_identity[0]


def test_azure_without_key_or_identity_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    # Only the credential that needs no network to find out that it is not configured.
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    with OpenAIServer([]) as server, pytest.raises(ModelRejected, match="managed identity"):
        ask(OpenAISettings(None, None, server.azure_endpoint, None, 5.0))
