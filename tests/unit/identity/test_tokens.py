"""Bearer tokens of OpenID Connect issuers, with an issuer that answers over HTTP."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as new_rsa_key

from perdure.domain.principal import SCOPES, Principal
from perdure.identity.errors import CredentialRefused
from perdure.identity.tokens import MAX_TOKEN_BYTES
from tests.oidc_issuer import AUDIENCE, OidcIssuer, public_jwk, refusal, tokens

pytestmark = pytest.mark.anyio

SCOPED = frozenset(SCOPES)
NOW = int(time.time())


async def test_a_token_speaks_for_its_user_behind_the_issuers_name(issuer: OidcIssuer) -> None:
    assert await tokens(issuer).check(issuer.token()) == Principal("test:acme", "test:ann", SCOPED)


async def test_a_tenant_that_is_configured_is_taken_as_it_is(issuer: OidcIssuer) -> None:
    checked = tokens(issuer, tenant="acme", tenant_claim=None, user_claim="oid")
    assert await checked.check(issuer.token(oid="7", tid=None)) == Principal("acme", "test:7", SCOPED)


@pytest.mark.parametrize("name", ["auth0|5f7c", "Ann Smith", "ann\0", "é", "a/b", "x" * 129, "x" * 5000, "~", "a\n"])
async def test_a_name_that_could_not_be_an_id_is_hashed(issuer: OidcIssuer, name: str) -> None:
    principal = await tokens(issuer).check(issuer.token(sub=name, tid=name))
    assert principal.user == principal.tenant
    assert principal.user.startswith("test:~")
    assert len(principal.user) == len("test:~") + 64
    again = await tokens(issuer).check(issuer.token(sub=principal.user.removeprefix("test:")))
    assert again.user != principal.user


@pytest.mark.parametrize("sub", [None, ""])
async def test_a_token_without_a_user_is_refused(issuer: OidcIssuer, sub: str | None) -> None:
    assert "sub" in await refusal(tokens(issuer), issuer.token(sub=sub))


@pytest.mark.parametrize("claim", ["sub", "tid"])
async def test_a_name_that_is_no_unicode_is_refused(issuer: OidcIssuer, claim: str) -> None:
    assert "surrogates" in await refusal(tokens(issuer), issuer.token(**{claim: "ann\ud800"}))


async def test_a_tenant_that_is_no_text_is_refused(issuer: OidcIssuer) -> None:
    assert "tid" in await refusal(tokens(issuer), issuer.token(tid=["acme"]))


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"roles": ["Runner"]}, {"task:run", "task:read"}),
        ({"roles": ["Runner", "Writer", "Stranger"]}, {"task:run", "task:read", "memory:write"}),
        ({"roles": "Runner"}, {"task:run", "task:read"}),
        ({"scp": "Run Write"}, {"task:run", "memory:write"}),
        ({"roles": ["Boss"]}, SCOPED),
        ({"roles": ["Boss"], "scp": "Run"}, {"task:run"}),
        ({"roles": ["Runner"], "scp": "Run Write"}, {"task:run"}),
        ({"roles": ["Runner"], "scp": ""}, set()),
        ({"roles": []}, set()),
        ({"roles": {"Boss": True}}, set()),
        ({"roles": [["Boss"], 5, None]}, set()),
        ({"roles": ["admin", "task:run"]}, set()),
        ({}, set()),
    ],
)
async def test_what_a_token_is_good_for_is_what_the_setting_says_of_its_claims(
    issuer: OidcIssuer, claims: dict[str, Any], scopes: set[str]
) -> None:
    mapped = {"Runner": ["task:run", "task:read"], "Writer": ["memory:write"], "Boss": ["admin"]}
    checked = tokens(issuer, scopes={**mapped, "Run": ["task:run"], "Write": ["memory:write"]})
    assert (await checked.check(issuer.token(**{"roles": None, **claims}))).scopes == scopes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exp": NOW - 60}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"exp": 1e400}, "exp"),
        ({"nbf": NOW + 86_400}, "not yet valid"),
        ({"nbf": None}, "nbf"),
        ({"iat": NOW + 86_400}, "not yet valid"),
        ({"aud": "api://another"}, "(?i)audience"),
        ({"aud": ["api://another", 5]}, "claim format"),
        ({"aud": None}, "(?i)aud"),
        ({"iss": "https://login.example"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"iss": ["http://127.0.0.1"]}, "issuer"),
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(issuer: OidcIssuer, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CredentialRefused, match=said):
        await tokens(issuer).check(issuer.token(**changes))


async def test_clocks_may_be_half_a_minute_apart(issuer: OidcIssuer) -> None:
    now = int(time.time())
    await tokens(issuer).check(issuer.token(exp=now - 20, nbf=now + 20, iat=now + 20))


async def test_several_audiences_are_alternatives(issuer: OidcIssuer) -> None:
    checked = tokens(issuer, audience=["api://other", AUDIENCE])
    await checked.check(issuer.token())
    await checked.check(issuer.token(aud=["api://other", "api://third"]))


async def test_claims_that_must_be_there_are_a_setting(issuer: OidcIssuer) -> None:
    await tokens(issuer, required_claims=[]).check(issuer.token(nbf=None))
    assert "jti" in await refusal(tokens(issuer, required_claims=["jti"]), issuer.token())


def segment(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def public_pem(issuer: OidcIssuer) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return issuer.keys["first"].public_key().public_bytes(serialization.Encoding.PEM, form)


def hmac_signed(issuer: OidcIssuer, secret: bytes) -> str:
    """A token signed with a public text as if it were a shared secret."""
    signed = f"{segment({'alg': 'HS256', 'kid': 'first', 'typ': 'JWT'})}.{segment(issuer.claims())}"
    signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


async def test_an_unsigned_token_is_refused(issuer: OidcIssuer) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        token = f"{segment({'alg': algorithm, 'kid': 'first'})}.{segment(issuer.claims())}."
        assert "signed with one of: RS256, ES256" in await refusal(tokens(issuer), token)


async def test_a_public_key_is_no_shared_secret(issuer: OidcIssuer) -> None:
    jwk = json.dumps(public_jwk("first", issuer.keys["first"])).encode()
    for secret in (public_pem(issuer), public_pem(issuer).strip(), jwk):
        assert "RS256" in await refusal(tokens(issuer), hmac_signed(issuer, secret))


async def test_a_token_signed_with_another_key_of_the_same_name_is_refused(issuer: OidcIssuer) -> None:
    token = jwt.encode(issuer.claims(), new_rsa_key(65537, 2048), "RS256", {"kid": "first"})
    assert "Signature" in await refusal(tokens(issuer), token)


async def test_a_token_that_was_changed_is_refused(issuer: OidcIssuer) -> None:
    header, _, signature = issuer.token().split(".")
    forged = f"{header}.{segment(issuer.claims(sub='root'))}.{signature}"
    assert "Signature" in await refusal(tokens(issuer), forged)


async def test_a_key_is_good_for_its_own_kind_of_signature_only(issuer: OidcIssuer) -> None:
    elliptic = new_ec_key(SECP384R1())
    issuer.keys = {**issuer.keys, "elliptic": elliptic}
    checked = tokens(issuer, algorithms=["RS256", "PS256", "ES256", "ES384"])
    await checked.check(jwt.encode(issuer.claims(), elliptic, "ES384", {"kid": "elliptic"}))
    for algorithm, key, kid in (("RS256", issuer.keys["first"], "elliptic"), ("ES384", elliptic, "first")):
        await refusal(checked, jwt.encode(issuer.claims(), key, algorithm, {"kid": kid}))
    # A signature of one kind under the name of another.
    token = jwt.encode(issuer.claims(), elliptic, "ES384", {"kid": "elliptic"})
    _, payload, signature = token.split(".")
    await refusal(checked, f"{segment({'alg': 'ES256', 'kid': 'elliptic'})}.{payload}.{signature}")


async def test_an_algorithm_that_is_not_configured_is_refused(issuer: OidcIssuer) -> None:
    token = jwt.encode(issuer.claims(), issuer.keys["first"], "RS512", {"kid": "first"})
    assert "RS256, ES256" in await refusal(tokens(issuer), token)
    await tokens(issuer, algorithms=["RS512"]).check(token)


async def test_a_key_that_names_its_algorithm_is_good_for_no_other(issuer: OidcIssuer) -> None:
    named = {**public_jwk("first", issuer.keys["first"]), "alg": "RS512"}
    issuer.published["/keys"] = json.dumps({"keys": [named]}).encode()
    assert "not for RS256" in await refusal(tokens(issuer), issuer.token())


@pytest.mark.parametrize(
    "change", [{"use": "enc"}, {"kid": 5}, {"kid": None}, {"kty": "oct", "k": "c2VjcmV0"}, {"n": 7}, {"d": "AQAB"}]
)
async def test_a_key_that_cannot_be_used_is_passed_over(issuer: OidcIssuer, change: dict[str, Any]) -> None:
    broken = {**public_jwk("first", issuer.keys["first"]), **change}
    good = public_jwk("second", issuer.keys["first"])
    issuer.published["/keys"] = json.dumps({"keys": [broken, good]}).encode()
    checked = tokens(issuer)
    await refusal(checked, issuer.token())
    await checked.check(issuer.token(header={"kid": "second"}))


async def test_a_short_rsa_key_is_refused(issuer: OidcIssuer) -> None:
    short = new_rsa_key(65537, 1024)
    issuer.keys = {"short": short}
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = issuer.token("short")
    assert "below" in await refusal(tokens(issuer), token)


@pytest.mark.parametrize("kid", [None, "", "second", "../keys", "x" * 4000])
async def test_a_token_must_name_a_key_of_its_issuer(issuer: OidcIssuer, kid: str | None) -> None:
    header = {} if kid is None else {"kid": kid}
    token = jwt.encode(issuer.claims(), issuer.keys["first"], "RS256", header)
    assert "key" in await refusal(tokens(issuer), token)


async def test_a_key_that_a_token_brings_along_or_points_at_is_never_used(issuer: OidcIssuer) -> None:
    """The forger's own key, as `jwk`, and at addresses that would tell if they were read."""
    forged = new_rsa_key(65537, 2048)
    header: dict[str, Any] = {
        "jwk": public_jwk("forged", forged),
        "jku": f"{issuer.url}/forged/jku",
        "x5u": f"{issuer.url}/forged/x5u",
        "x5c": ["MIIB"],
    }
    keys = {"keys": [public_jwk("forged", forged), public_jwk("first", forged)]}
    issuer.published["/forged/jku"] = json.dumps(keys).encode()
    for kid in ("forged", "first"):
        await refusal(tokens(issuer), jwt.encode(issuer.claims(), forged, "RS256", {**header, "kid": kid}))
    assert [path for path in issuer.requests if "forged" in path] == []
    # And beside a good signature they do no harm.
    await tokens(issuer).check(issuer.token(header=header))


async def test_a_critical_extension_that_nobody_understands_is_refused(issuer: OidcIssuer) -> None:
    await refusal(tokens(issuer), issuer.token(header={"crit": ["exp"], "exp": 1}))


NONSENSE = ["", ".", "..", "x", "a.b.c", "a.b", "é.é.é", "[]", "=.=.=", "a.b.c.d.e", "\x00", "null.null.null"]
ODD_HEADERS: list[object] = [[], 5, None, "x", {}, {"alg": 5}, {"alg": "RS256"}, {"alg": "RS256", "kid": 5}]


@pytest.mark.parametrize("token", [*NONSENSE, *(f"{segment(odd)}.{segment(odd)}.AA" for odd in ODD_HEADERS)])
async def test_what_is_no_token_is_refused(issuer: OidcIssuer, token: str) -> None:
    await refusal(tokens(issuer), token)
    assert issuer.requests == []


@pytest.mark.parametrize("depth", [99, 6_000, 11_901], ids="{} deep".format)
async def test_deep_nesting_is_refused(issuer: OidcIssuer, depth: int) -> None:
    # The last is as deep as a token has room for, and deeper than the JSON reader goes.
    deep = base64.urlsafe_b64encode(b"[" * depth).decode()
    header = segment({"alg": "RS256", "kid": "first"})
    for token in (f"{deep}.{segment({})}.AA", f"{header}.{deep}.AA"):
        assert len(token) <= MAX_TOKEN_BYTES
        await refusal(tokens(issuer), token)


async def test_an_oversized_token_is_refused_unread(issuer: OidcIssuer) -> None:
    token = issuer.token(padding="x" * MAX_TOKEN_BYTES)
    assert "16,384 bytes" in await refusal(tokens(issuer), token)
    assert issuer.requests == []
    await tokens(issuer).check(issuer.token(padding="x" * 8000))
