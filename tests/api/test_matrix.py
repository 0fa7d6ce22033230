"""Every route, asked by every kind of caller."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
import pytest

from perdure.api.routes import OPERATIONS, Route
from perdure.domain.principal import SCOPES
from tests.api.route_examples import EXAMPLES, Example, Stage
from tests.app import App, ScriptedProvider
from tests.devhost_process import until
from tests.oidc_issuer import OidcIssuer

GUARDED = [name for name, route in OPERATIONS.items() if route.scope]
OWNED = [name for name in GUARDED if name in EXAMPLES and EXAMPLES[name].of]

INVALID = (
    "no credential", "an empty key", "a bad key", "an expired key", "a revoked key", "an expired token",
    "a token for another app", "two credentials",
)  # fmt: skip
OWNERS = ("a key with the scope", "an admin key", "a token with the scope")


@dataclass
class Callers:
    """Makes callers, each at their first use."""

    app: App
    issuer: OidcIssuer

    def __post_init__(self) -> None:
        self._clients: dict[object, httpx.Client] = {}
        self._admin = self.app.client_for(self.app.make_key("owner"))
        self._foreign_admin = self.app.client_for(self.app.make_key("owner", tenant="foreign"))

    @property
    def owner(self) -> httpx.Client:
        return self._admin

    @property
    def other_tenant(self) -> httpx.Client:
        """An administrator of another tenant, of the same name."""
        return self._foreign_admin

    def with_scopes(self, user: str, *scopes: str) -> httpx.Client:
        if (user, scopes) not in self._clients:
            made = self._admin.post("/keys", json={"user": user, "scopes": scopes})
            self._clients[user, scopes] = self.app.client_for(made.raise_for_status().json()["key"])
        return self._clients[user, scopes]

    def sending(self, headers: Mapping[str, str]) -> httpx.Client:
        key = tuple(headers.items())
        if key not in self._clients:
            self._clients[key] = self.app.client_with(headers)
        return self._clients[key]

    def invalid(self, kind: str) -> httpx.Client:
        """A caller that nobody should know."""
        if kind not in self._clients:
            self._clients[kind] = self.sending(self._invalid(kind))
        return self._clients[kind]

    def _invalid(self, kind: str) -> dict[str, str]:
        match kind:
            case "no credential":
                return {}
            case "an empty key":
                return {"X-API-Key": ""}
            case "a bad key":
                return {"X-API-Key": f"pdk_0123456789abcdef0123_{'x' * 43}"}
            case "an expired key":
                made = self._admin.post("/keys", json={"user": "owner", "scopes": ["admin"], "expires_in": 1}).json()
                headers = {"X-API-Key": made["key"]}
                until(lambda: self.sending(headers).get("/agents"), lambda answer: answer.status_code == 401)
                return headers
            case "a revoked key":
                made = self._admin.post("/keys", json={"user": "owner", "scopes": ["admin"]}).json()
                headers = {"X-API-Key": made["key"]}
                assert self.sending(headers).get("/agents").status_code == 200
                assert self._admin.delete(f"/keys/{made['key_id']}").status_code == 204
                return headers
            case "an expired token":
                return {"Authorization": f"Bearer {self.issuer.token(exp=int(time.time()) - 60)}"}
            case "a token for another app":
                return {"Authorization": f"Bearer {self.issuer.token(aud='api://another')}"}
            case _:
                return {
                    "X-API-Key": self._admin.headers["X-API-Key"],
                    "Authorization": f"Bearer {self.issuer.token()}",
                }


@pytest.fixture(scope="module")
def callers(running: App, issuer: OidcIssuer) -> Callers:
    return Callers(running, issuer)


@pytest.fixture(scope="module")
def stage(running: App, provider: ScriptedProvider, callers: Callers) -> Iterator[Stage]:
    yield Stage(running, provider, callers.owner)
    provider.verify()


def things(example: Example, stage: Stage) -> dict[str, str]:
    return example.needs(stage) if example.needs else {}


def refused(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()["detail"]


def test_every_route_says_how_it_is_called() -> None:
    assert set(EXAMPLES) == set(OPERATIONS), "tests/api/route_examples.py needs an entry for each route"
    # Of a user, only what is kept tells that there is one: of nobody, that is nothing.
    guarded = {name: route for name, route in OPERATIONS.items() if route.scope}
    named = {name for name, route in guarded.items() if "{" in route.path.removeprefix("users/{user_id}")}
    assert named <= set(OWNED), "whoever does not own what the path names must be told that there is none"


@pytest.mark.parametrize("kind", INVALID)
@pytest.mark.parametrize("name", GUARDED)
def test_nobody_is_let_in_without_a_valid_credential(callers: Callers, name: str, kind: str) -> None:
    route, example = OPERATIONS[name], EXAMPLES[name]
    response = example.send(callers.invalid(kind), route, example.missing)
    refused(response, 401)
    assert response.headers["WWW-Authenticate"].startswith("ApiKey ")
    assert ", Bearer " in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - set(GUARDED)))
def test_what_is_open_is_open_to_everybody(callers: Callers, stage: Stage, name: str) -> None:
    example = EXAMPLES[name]
    for kind in ("no credential", "a bad key"):
        response = example.send(callers.invalid(kind), OPERATIONS[name], things(example, stage))
        assert response.status_code == example.answer


@pytest.mark.parametrize("name", GUARDED)
def test_a_credential_without_the_scope_is_told_which(callers: Callers, issuer: OidcIssuer, name: str) -> None:
    route, example = OPERATIONS[name], EXAMPLES[name]
    others = [scope for scope in SCOPES if scope not in (route.scope, "admin")]
    key = example.send(callers.with_scopes("owner", *others), route, example.missing)
    assert refused(key, 403) == f"The API key does not have the scope {route.scope!r}."
    bearer = callers.sending({"Authorization": f"Bearer {issuer.token(roles=others)}"})
    token = example.send(bearer, route, example.missing)
    assert refused(token, 403) == f"The token does not have the scope {route.scope!r}."
    assert f'error="insufficient_scope", scope="{route.scope}"' in token.headers["WWW-Authenticate"]


def others_of(route: Route, example: Example, callers: Callers, issuer: OidcIssuer) -> Iterator[httpx.Client]:
    """Those who may use the route and do not own what its example is about."""
    assert route.scope
    yield callers.other_tenant
    yield callers.sending({"Authorization": f"Bearer {issuer.token(sub='owner', tid='default')}"})
    if example.of == "user":
        yield callers.with_scopes("other", route.scope)
        yield callers.with_scopes("other", "admin")


@pytest.mark.parametrize("name", OWNED)
def test_what_belongs_to_somebody_else_is_as_if_it_were_not_there(
    callers: Callers, stage: Stage, issuer: OidcIssuer, name: str
) -> None:
    route, example = OPERATIONS[name], EXAMPLES[name]
    theirs = things(example, stage)
    for client in others_of(route, example, callers, issuer):
        detail = refused(example.send(client, route, theirs), 404)
        missing = refused(example.send(client, route, example.missing), 404)
        for parameter, value in theirs.items():
            missing = missing.replace(example.missing[parameter], value)
        assert detail == missing
    assert example.send(callers.owner, route, theirs).status_code == example.answer


@pytest.mark.parametrize("kind", OWNERS)
@pytest.mark.parametrize("name", GUARDED)
def test_whoever_has_the_scope_is_let_in(
    callers: Callers, stage: Stage, issuer: OidcIssuer, name: str, kind: str
) -> None:
    route, example = OPERATIONS[name], EXAMPLES[name]
    assert route.scope
    match kind:
        case "a key with the scope":
            client = callers.with_scopes("owner", route.scope)
        case "an admin key":
            client = callers.owner
        case _:
            client = callers.sending({"Authorization": f"Bearer {issuer.token(roles=[route.scope])}"})
    mine = things(example, stage)
    # What is about something of the owner's is not there for the token's user, who got as far as looking for it.
    answer = 404 if example.of and kind == OWNERS[2] else example.answer
    assert example.send(client, route, mine).status_code == answer


def test_another_user_is_listed_nothing_of_the_owners(callers: Callers, stage: Stage) -> None:
    stage.new_document()
    assert stage.ended_task
    listed = {"/agent/task": "tasks", "/memory/documents": "documents"}
    for client, empty in ((callers.owner, False), (callers.with_scopes("other", "task:read"), True)):
        assert [not client.get(path).json()[field] for path, field in listed.items()] == [empty, empty]
    assert callers.other_tenant.get("/agent/task").json()["tasks"] == []


def test_an_administrator_sees_the_keys_of_the_own_tenant_only(callers: Callers, stage: Stage) -> None:
    key_id = stage.new_key()["key_id"]
    assert key_id in [key["key_id"] for key in callers.owner.get("/keys").json()["keys"]]
    assert {key["user"] for key in callers.other_tenant.get("/keys").json()["keys"]} == {"owner"}
