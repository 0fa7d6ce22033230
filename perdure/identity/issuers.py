"""OpenID Connect issuers whose tokens are accepted, as PERDURE_OIDC_ISSUERS describes them."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from perdure.domain.principal import NAME_PATTERN, RESERVED_TENANT, Scope

LOOPBACK = ("127.0.0.1", "::1", "localhost")

SHARED_ENTRA = re.compile(r"https://login\.microsoftonline\.[a-z]+/(common|organizations|consumers)(/|$)")
"""Addresses of Microsoft Entra ID that stand for many tenants and that no token names as its issuer."""

type Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip
"""Signatures that need a private key to make. With the symmetric ones, whoever can check a token could write one."""


def check_address(address: str) -> str:
    """Return an address that may be trusted to answer for whom it names. Raises ValueError for any other."""
    parts = urlsplit(address)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)):
        raise ValueError(f"{address[:200]!r} must start with https:// and name a host; http:// is for loopback only")
    return address


type Address = Annotated[str, AfterValidator(check_address)]
type Claim = Annotated[str, StringConstraints(min_length=1)]
type Claims = Annotated[tuple[Claim, ...], Field(min_length=1)]


class Issuer(BaseModel):
    """One issuer and what its tokens are good for.

    What a claim says stands behind the issuer's name in ids (`entra:8f3c...`), so that nobody can be taken for a user
    of another issuer or for the owner of an API key. What the setting says (`tenant`) is taken as it is.

    Attributes:
        name: Ours for it.
        issuer: Its `iss`, to the letter.
        audience: The `aud` that is this app's; several are alternatives.
        jwks_uri: Where its keys are; None for where its discovery document says.
        algorithms: Signatures that are accepted.
        tenant: The tenant of all its users.
        tenant_claim: Or the claim that names the tenant. One of the two.
        user_claim: The claim that names the user.
        scope_claims: The claims that say what the token is good for. A token that has several of them is good for what
            all of them allow.
        scopes: What their values allow here. Any other value allows nothing.
        required_claims: Claims a token must have besides `exp`, `iss` and `aud`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    issuer: Address
    audience: Claim | Claims
    jwks_uri: Address | None = None
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    tenant: Annotated[str, StringConstraints(pattern=NAME_PATTERN)] | None = None
    tenant_claim: Claim | None = None
    user_claim: Claim = "sub"
    scope_claims: Claims = ("roles", "scp")
    scopes: Annotated[dict[str, frozenset[Scope]], Field(min_length=1)]
    required_claims: tuple[Claim, ...] = ("nbf",)

    @model_validator(mode="after")
    def _check(self) -> "Issuer":
        if (self.tenant is None) == (self.tenant_claim is None):
            raise ValueError("set tenant or tenant_claim, one of them")
        if self.tenant == RESERVED_TENANT:
            raise ValueError(f"tenant cannot be {RESERVED_TENANT!r}: that name is the deployment's own")
        if SHARED_ENTRA.match(self.issuer):
            raise ValueError(
                "issuer stands for many tenants; list each tenant's own issuer, with its id in the address"
            )
        return self


_issuers = TypeAdapter(list[Issuer])


def parse_issuers(text: str) -> tuple[Issuer, ...]:
    """Read the setting: a JSON list of issuers. Raises ValueError, which names entry and field."""
    try:
        issuers = _issuers.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error
    for field in ("name", "issuer"):
        values = [getattr(issuer, field) for issuer in issuers]
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"two entries have the {field} {twice[0]!r}")
    return tuple(issuers)
