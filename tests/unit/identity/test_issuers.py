"""The setting that says whose tokens are accepted."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from perdure.identity.issuers import parse_issuers
from perdure.settings import Settings, SettingsError

ENTRA = {
    "name": "entra",
    "issuer": "https://login.microsoftonline.com/0f1e2d3c-0000-0000-0000-000000000000/v2.0",
    "audience": "6a1b0000-0000-0000-0000-000000000000",
    "tenant": "contoso",
    "user_claim": "oid",
    "scopes": {"Tasks.Run": ["task:run", "task:read"]},
}
DOCS = Path(__file__).resolve().parents[3] / "docs" / "api.md"


def read(*entries: object) -> Settings:
    return Settings.from_env({"PERDURE_OIDC_ISSUERS": json.dumps(entries)})


def test_no_issuer_is_accepted_unless_one_is_configured() -> None:
    assert Settings.from_env({}).issuers == ()


def test_what_an_entry_leaves_out_is_the_careful_choice() -> None:
    [issuer] = read(ENTRA).issuers
    assert issuer.algorithms == ("RS256", "ES256")
    assert issuer.required_claims == ("nbf",)
    assert issuer.scope_claims == ("roles", "scp")


def test_the_example_in_the_documentation_is_a_setting() -> None:
    examples = re.findall(r"```json\n(\[.*?\])\n```", DOCS.read_text("utf-8"), re.DOTALL)
    assert [issuer.name for text in examples for issuer in parse_issuers(text)] == ["entra"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"algorithms": ["HS256"]}, "0.algorithms.0: .*'RS256'"),
        ({"algorithms": ["RS256", "none"]}, "0.algorithms.1"),
        ({"algorithms": []}, "0.algorithms"),
        ({"issuer": "http://login.example"}, "0.issuer: .*https://"),
        ({"issuer": "login.example"}, "0.issuer: .*https://"),
        ({"issuer": "https://login.microsoftonline.com/common/v2.0"}, "many tenants"),
        ({"issuer": "https://login.microsoftonline.com/organizations/v2.0"}, "many tenants"),
        ({"jwks_uri": "http://127.0.0.1.example/keys"}, "0.jwks_uri: .*loopback"),
        ({"jwks_uri": "http://[::1/keys"}, "0.jwks_uri"),
        ({"audience": ""}, "0.audience"),
        ({"audience": []}, "0.audience"),
        ({"tenant": None}, "tenant or tenant_claim"),
        ({"tenant_claim": "tid"}, "tenant or tenant_claim"),
        ({"tenant": "system"}, "the deployment's own"),
        ({"tenant": "a b"}, "0.tenant"),
        ({"name": "Entra"}, "0.name"),
        ({"name": "a:b"}, "0.name"),
        ({"scopes": {}}, "0.scopes"),
        ({"scopes": {"x": ["everything"]}}, "0.scopes.x"),
        ({"scope_claims": []}, "0.scope_claims"),
        ({"aud": "x"}, "0.aud: .*not permitted"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=f"^PERDURE_OIDC_ISSUERS: .*{said}"):
        read({**ENTRA, **change})


@pytest.mark.parametrize("field", ["issuer", "audience", "name", "scopes"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(SettingsError, match=f"0.{field}: "):
        read({name: value for name, value in ENTRA.items() if name != field})


@pytest.mark.parametrize("field", ["name", "issuer"])
def test_two_entries_have_names_and_issuers_of_their_own(field: str) -> None:
    other = {**ENTRA, "name": "other", "issuer": "https://login.example", field: ENTRA[field]}
    with pytest.raises(SettingsError, match=f"two entries have the {field}"):
        read(ENTRA, other)


@pytest.mark.parametrize("text", ["{}", "entra", "[5]", "["])
def test_what_is_no_list_of_issuers_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="PERDURE_OIDC_ISSUERS"):
        Settings.from_env({"PERDURE_OIDC_ISSUERS": text})


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("admin", "32 random"),
        ("x" * 64, "32 random"),
        ("correct horse battery staple, and more of it", "32 random"),
        ("0123456789abcdefghijklmnopqrstuvwxyzé", "32 random"),
        ("@Microsoft.KeyVault(SecretUri=https://vault.example/secrets/admin)", "not resolved"),
    ],
)
def test_an_admin_key_that_could_be_guessed_is_refused_and_not_repeated(key: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        Settings.from_env({"PERDURE_ADMIN_KEY": key})
    assert key not in str(refused.value)


def test_the_admin_key_is_not_shown_with_the_settings() -> None:
    key = "V7mJ0xqk3Tn9sLwB5cRyHd2uZf8gPeAa"
    settings = Settings.from_env({"PERDURE_ADMIN_KEY": key})
    assert settings.admin_key == key
    assert key not in repr(settings)
