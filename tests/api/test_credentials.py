"""API keys and tokens over HTTP: how they are made, what is refused, and how soon."""

import subprocess
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
import pytest

from tests.api.test_http import problem
from tests.app import ADMIN_KEY, App, ScriptedProvider
from tests.oidc_issuer import OidcIssuer
from tests.openai_server import Answer

NONSENSE = ["", "nonsense", "pdk_", "pdk_0123456789abcdef_wrong", "pdk_é_x", "x" * 5000, ADMIN_KEY[:-1]]


def get(app: App, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value.encode() for name, value in headers.items()}
    return httpx.get(f"{app.host.url}/api/agents", headers=named)


def bearer(app: App, token: str) -> httpx.Client:
    return app.client_with({"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("key", NONSENSE)
def test_a_wrong_key_is_refused_with_what_would_be_right(app: App, key: str) -> None:
    response = get(app, X_API_Key=key)
    problem(response, 401)
    assert response.headers["WWW-Authenticate"] == (
        'ApiKey realm="perdure", header="X-API-Key", Bearer realm="perdure"'
    )


def test_a_key_with_another_keys_secret_is_refused(app: App) -> None:
    one, two = app.make_key("ann"), app.make_key("ann")
    mixed = "_".join([*one.split("_")[:2], two.split("_", 2)[2]])
    problem(app.client_for(mixed).get("/agents"), 401)


def test_a_key_may_have_several_scopes(app: App, provider: ScriptedProvider) -> None:
    client = app.client_for(app.make_key("both", "task:run", "task:read"))
    provider.plan("Run and read", [Answer("Both.")])
    task_id = client.post("/agent/task", json={"query": "Run and read"}).json()["task_id"]
    assert app.finish(task_id, client=client)["result"] == "Both."
    problem(client.post("/memory/documents", json={"title": "x", "text": "y"}), 403)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--scope", "task:everything"), "task:everything"),
        (("--tenant", "system"), "the deployment's own"),
        (("--user", "a b"), "cannot be a name"),
        (("--expires-days", "0"), "above 0"),
        (("--expires-days", "soon"), "--expires-days"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(app: App, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        app.command("key", *arguments)
    assert said in refused.value.stderr


def test_the_command_gives_a_key_a_label_and_an_end(app: App) -> None:
    made = app.command("key", "--user", "cli", "--label", "from the shell", "--expires-days", "0.5")
    view = app.client.get(f"/keys/{made.split('_')[1]}").json()
    assert (view["user"], view["scopes"], view["label"]) == ("cli", ["admin"], "from the shell")
    left = datetime.fromisoformat(view["expires_at"]) - datetime.now(UTC)
    assert 11 * 3600 < left.total_seconds() < 12 * 3600


def test_a_key_is_made_shown_once_used_listed_and_revoked(app: App) -> None:
    asked = {"user": "bob", "scopes": ["task:read", "task:read"], "label": "dashboard", "expires_in": 3600}
    response = app.client.post("/keys", json=asked)
    assert (response.status_code, response.headers["Cache-Control"]) == (201, "no-store")
    made = response.json()
    key = made.pop("key")
    assert (made["user"], made["scopes"], made["label"]) == ("bob", ["task:read"], "dashboard")
    assert key.startswith(f"pdk_{made['key_id']}_")
    assert httpx.URL(app.host.url).join(response.headers["Location"]).path == f"/api/keys/{made['key_id']}"
    assert app.client.get(f"/keys/{made['key_id']}").json() == made
    page = app.client.get("/keys", params={"limit": 1}).json()
    assert page["keys"] == [made]
    assert page["continuation"]
    client = app.client_for(key)
    assert client.get("/agents").status_code == 200
    assert app.client.delete(f"/keys/{made['key_id']}").status_code == 204
    problem(client.get("/agents"), 401)
    assert made["key_id"] in problem(app.client.delete(f"/keys/{made['key_id']}"), 404)["detail"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"user": "a b"}, "/user"),
        ({"user": ""}, "/user"),
        ({"user": "x" * 201}, "/user"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["everything"]}, "/scopes/0"),
        ({"label": "x" * 201}, "/label"),
        ({"expires_in": 0}, "/expires_in"),
        ({"expires_in": "60"}, "/expires_in"),
        ({"expires_in": 10**10}, "/expires_in"),
        ({"tenant": "other"}, "/tenant"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(app: App, change: dict[str, Any], pointer: str) -> None:
    body = {"user": "ann", "scopes": ["task:read"], **change}
    errors = problem(app.client.post("/keys", json=body), 422)["errors"]
    assert [error["pointer"] for error in errors] == [pointer]


def test_the_admin_key_of_the_settings_makes_the_first_keys(app: App) -> None:
    admin = app.client_for(ADMIN_KEY)
    made = admin.post("/keys", json={"user": "first", "scopes": ["task:read"]}).json()
    assert app.client_for(made["key"]).get("/agents").status_code == 200


def test_a_token_is_as_good_as_a_key(app: App, issuer: OidcIssuer, provider: ScriptedProvider) -> None:
    client = bearer(app, issuer.token(sub="auth0|5f7c", roles=["task:run", "task:read"]))
    provider.plan("Asked with a token", [Answer("Told.")])
    task_id = client.post("/agent/task", json={"query": "Asked with a token"}).json()["task_id"]
    assert app.finish(task_id, client=client)["result"] == "Told."
    problem(bearer(app, issuer.token()).get(f"/agent/task/{task_id}"), 404)


def test_the_scheme_is_read_in_any_case(app: App, issuer: OidcIssuer) -> None:
    assert get(app, Authorization=f"bearer {issuer.token()}").status_code == 200


@pytest.mark.parametrize("header", ["Basic YW5uOmFubg==", "Bearer", "token", "é"])
def test_an_authorization_that_is_no_token_is_refused(app: App, header: str) -> None:
    problem(get(app, Authorization=header), 401)


def test_one_request_has_one_credential(app: App, issuer: OidcIssuer) -> None:
    token, key = f"Bearer {issuer.token()}", ADMIN_KEY
    response = get(app, X_API_Key=key, Authorization=token)
    assert "several credentials" in problem(response, 401)["detail"]
    assert 'error="invalid_request"' in response.headers["WWW-Authenticate"]
    for twice in ([("X-API-Key", key)] * 2, [("Authorization", token)] * 2):
        assert httpx.get(f"{app.host.url}/api/agents", headers=twice).status_code == 401


def test_a_refused_token_is_told_why(app: App, issuer: OidcIssuer) -> None:
    now = int(time.time())
    refused = {
        issuer.token(exp=now - 60): "expired",
        issuer.token(nbf=now + 600): "not yet valid",
        issuer.token(aud="api://another"): "udience",
        issuer.token(iss="https://login.example"): "issuer that is not configured",
        issuer.token(header={"kid": "unknown"}): "does not have",
        issuer.token(padding="x" * 16_384): "16,384",
        jwt.encode(issuer.claims(), "a-shared-secret-of-32-characters", "HS256", {"kid": "first"}): "RS256",
        jwt.encode(issuer.claims(), None, "none", {"kid": "first"}): "RS256",
    }
    for token, why in refused.items():
        response = bearer(app, token).get("/agents")
        assert why in problem(response, 401)["detail"]
        assert 'Bearer realm="perdure", error="invalid_token"' in response.headers["WWW-Authenticate"]
