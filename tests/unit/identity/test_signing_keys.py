"""The keys of an issuer: read, kept, read again, and missed."""

import asyncio
import json

import pytest

from perdure.identity.errors import IssuerUnavailable
from perdure.identity.issuers import parse_issuers
from perdure.identity.signing_keys import FRESH_SECONDS, KEEP_SECONDS, RETRY_SECONDS
from perdure.identity.tokens import Tokens
from tests.oidc_issuer import OidcIssuer, refusal, tokens

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_keys_are_read_once_for_many_tokens(issuer: OidcIssuer) -> None:
    checked = tokens(issuer)
    await asyncio.gather(*(checked.check(issuer.token(sub=f"user-{number}")) for number in range(20)))
    await checked.check(issuer.token())
    assert issuer.requests == ["/.well-known/openid-configuration", "/keys"]


async def test_an_address_of_keys_that_is_configured_needs_no_discovery(issuer: OidcIssuer) -> None:
    await tokens(issuer, jwks_uri=f"{issuer.url}/keys").check(issuer.token())
    assert issuer.requests == ["/keys"]


async def test_new_keys_are_found_when_a_token_names_one_and_old_ones_are_refused(issuer: OidcIssuer) -> None:
    clock = Clock()
    checked = tokens(issuer, clock)
    old = issuer.token()
    await checked.check(old)
    issuer.rotate("second")
    clock.now += RETRY_SECONDS
    await checked.check(issuer.token("second"))
    assert "does not have" in await refusal(checked, old)


async def test_tokens_with_made_up_keys_do_not_make_us_ask_the_issuer_each_time(issuer: OidcIssuer) -> None:
    clock = Clock()
    checked = tokens(issuer, clock)
    for number in range(30):
        await refusal(checked, issuer.token(header={"kid": f"made-up-{number}"}))
    assert issuer.requests.count("/keys") == 1
    clock.now += RETRY_SECONDS
    await refusal(checked, issuer.token(header={"kid": "made-up"}))
    assert issuer.requests.count("/keys") == 2


async def test_keys_are_read_again_after_an_hour_while_they_go_on_being_used(issuer: OidcIssuer) -> None:
    clock = Clock()
    checked = tokens(issuer, clock)
    old = issuer.token()
    await checked.check(old)
    issuer.rotate("second")
    clock.now += FRESH_SECONDS + 1
    await checked.check(old)
    # That started a read, which this one waits for.
    await checked.check(issuer.token("second"))
    assert "does not have" in await refusal(checked, old)


async def test_an_outage_of_the_issuer_is_survived_with_the_keys_at_hand(issuer: OidcIssuer) -> None:
    clock = Clock()
    checked = tokens(issuer, clock)
    await checked.check(issuer.token())
    issuer.down = True
    for _ in range(23):
        clock.now += FRESH_SECONDS
        await checked.check(issuer.token())
    with pytest.raises(IssuerUnavailable):
        # It may be the issuer's newest, so it is not called wrong.
        await checked.check(issuer.token(header={"kid": "second"}))
    clock.now += KEEP_SECONDS
    with pytest.raises(IssuerUnavailable):
        await checked.check(issuer.token())
    issuer.down = False
    clock.now += RETRY_SECONDS
    await checked.check(issuer.token())


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/.well-known/openid-configuration", b"{}"),
        ("/.well-known/openid-configuration", b"<html>"),
        ("/.well-known/openid-configuration", b'{"issuer": "https://other.example", "jwks_uri": "https://x/keys"}'),
        ("/.well-known/openid-configuration", b'{"issuer": "ISSUER", "jwks_uri": "http://169.254.169.254/keys"}'),
        ("/.well-known/openid-configuration", b'{"issuer": "ISSUER", "jwks_uri": "file:///etc/passwd"}'),
        ("/.well-known/openid-configuration", b'{"issuer": "ISSUER", "jwks_uri": "ISSUER/nowhere"}'),
        ("/keys", b"{}"),
        ("/keys", b'{"keys": [5]}'),
        ("/keys", b"[" * 10_000),
        ("/keys", b'{"keys": [], "x": "' + b"x" * 300_000 + b'"}'),
    ],
)
async def test_an_issuer_that_answers_nonsense_is_unavailable(issuer: OidcIssuer, path: str, answer: bytes) -> None:
    issuer.published[path] = answer.replace(b"ISSUER", issuer.url.encode())
    with pytest.raises(IssuerUnavailable):
        await tokens(issuer).check(issuer.token())


async def test_one_issuer_cannot_speak_for_another(issuer: OidcIssuer) -> None:
    with OidcIssuer() as second:
        both = parse_issuers(json.dumps([issuer.setting(), second.setting(name="second")]))
        checked = Tokens(both)
        assert (await checked.check(issuer.token())).user == "test:ann"
        assert (await checked.check(second.token())).user == "second:ann"
        await refusal(checked, second.token(iss=issuer.url))
