"""Bearer tokens: JSON Web Tokens that a configured issuer signed for this app.

1. Nothing over MAX_TOKEN_BYTES is looked at.
2. The token says, unproved, which issuer it is of, which of its keys signed it and how; each must be one we know.
   Where else a token says its key could be found (`jku`, `x5u`, `jwk`) is never read.
3. Signature, issuer, audience and times are checked by PyJWT, with the algorithms of the setting.
4. Claims are mapped to tenant, user and scopes.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import jwt

from perdure.domain.principal import NAME_PATTERN, SCOPES, Principal
from perdure.identity.errors import CredentialRefused
from perdure.identity.issuers import Issuer
from perdure.identity.signing_keys import Jwk, SigningKeys

MAX_TOKEN_BYTES = 16 * 1024
"""Largest token. Those of Entra ID have 1 to 3 KB; with every group a user may be in, it sends a link instead."""

LEEWAY_SECONDS = 30.0
"""How far the issuer's clock and ours may be apart."""

NAME_BYTES = 128
"""Longest value of a claim that stands in an id as it is; of a longer one, or of one with odd characters, its hash."""


class Tokens:
    """Checks tokens of the issuers that are configured."""

    def __init__(self, issuers: Sequence[Issuer], open_keys: Callable[[Issuer], SigningKeys] = SigningKeys) -> None:
        self._issuers = {issuer.issuer: (issuer, open_keys(issuer)) for issuer in issuers}

    async def check(self, token: str) -> Principal:
        """Say whom a token speaks for.

        Raises:
            CredentialRefused: It is not valid.
            IssuerUnavailable: It cannot be checked.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise CredentialRefused(f"The token is over {MAX_TOKEN_BYTES:,} bytes.")
        try:
            unproved = jwt.decode_complete(token, options={"verify_signature": False})
            issuer, key = await self._signer(unproved["header"], unproved["payload"])
            return principal(issuer, _prove(token, issuer, key, unproved["header"]["alg"]))
        except jwt.ExpiredSignatureError as error:
            raise CredentialRefused("The token has expired.") from error
        except (jwt.PyJWTError, ValueError) as error:
            raise CredentialRefused(f"The token is not valid: {str(error)[:200]}.") from error

    async def _signer(self, header: dict[str, Any], payload: dict[str, Any]) -> tuple[Issuer, Jwk]:
        """Find the key that a token says it was signed with."""
        said = payload.get("iss")
        issuer, keys = self._issuers.get(said, (None, None)) if isinstance(said, str) else (None, None)
        if issuer is None or keys is None:
            raise CredentialRefused("The token is of an issuer that is not configured here.")
        if header.get("alg") not in issuer.algorithms:
            raise CredentialRefused(f"The token must be signed with one of: {', '.join(issuer.algorithms)}.")
        kid = header.get("kid")
        if not kid:
            raise CredentialRefused("The token does not say which key it was signed with (kid).")
        key = await keys.find(kid)
        if key is None:
            raise CredentialRefused("The token was signed with a key that its issuer does not have.")
        return issuer, key


def _prove(token: str, issuer: Issuer, key: Jwk, algorithm: str) -> dict[str, Any]:
    if key.get("alg", algorithm) != algorithm:
        raise CredentialRefused(f"The token's key is not for {algorithm}.")
    return jwt.decode(
        token,
        jwt.PyJWK(key, algorithm),
        algorithms=issuer.algorithms,
        audience=issuer.audience,
        issuer=issuer.issuer,
        leeway=LEEWAY_SECONDS,
        options={"require": ["exp", "iss", "aud", *issuer.required_claims], "enforce_minimum_key_length": True},
    )


def principal(issuer: Issuer, claims: dict[str, Any]) -> Principal:
    """Map the claims of a token to whom it speaks for. Raises CredentialRefused when they do not say."""
    tenant = issuer.tenant or _name(issuer, claims, issuer.tenant_claim or "")
    return Principal(tenant, _name(issuer, claims, issuer.user_claim), _scopes(issuer, claims))


def _name(issuer: Issuer, claims: dict[str, Any], claim: str) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not value:
        raise CredentialRefused(f"The token has no {claim}, which would say who calls.")
    if len(value) > NAME_BYTES or not re.fullmatch(NAME_PATTERN, value):
        value = f"~{hashlib.sha256(value.encode()).hexdigest()}"
    return f"{issuer.name}:{value}"


def _scopes(issuer: Issuer, claims: dict[str, Any]) -> frozenset[str]:
    allowed = [_allowed(issuer, claims[claim]) for claim in issuer.scope_claims if claim in claims]
    return frozenset(scope for scope in SCOPES if allowed and all(scope in each for each in allowed))


def _allowed(issuer: Issuer, said: object) -> frozenset[str]:
    """What one claim allows: a list of values, or a text with blanks between them. `admin` includes all."""
    values = said.split() if isinstance(said, str) else cast("list[object]", said) if isinstance(said, list) else []
    scopes = frozenset(scope for value in values for scope in issuer.scopes.get(str(value), ()))
    return frozenset(SCOPES) if "admin" in scopes else scopes
