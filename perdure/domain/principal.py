"""Who calls, and what a credential may be good for."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

type Scope = Literal["task:run", "task:read", "memory:write", "approve", "admin"]

SCOPES: tuple[Scope, ...] = get_args(Scope.__value__)

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@:~-]{0,199}$"
"""How tenants and users may be named. Names are parts of partition keys and of addresses."""

RESERVED_TENANT = "system"
"""Partitions of this tenant hold what belongs to the deployment: API keys, settings."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: a user of a tenant, and what the credential presented may do."""

    tenant: str
    user: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Whether the credential is good for a scope; `admin` includes the others."""
        return not self.scopes.isdisjoint({scope, "admin"})


@dataclass(frozen=True, slots=True)
class ApiKey:
    """All there is to know about an API key, except its secret.

    Attributes:
        id: The part between the underscores, by which the key is found.
        owner: Whom it makes its bearer.
        label: What it is for, in its maker's words.
        expires_at: None for a key that is good until it is revoked.
    """

    id: str
    owner: Principal
    label: str
    created_at: datetime
    expires_at: datetime | None = None

    def has_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


def check_names(tenant: str, user: str) -> None:
    """Raise ValueError for a tenant or a user that nobody may be called."""
    for name in (tenant, user):
        if not re.fullmatch(NAME_PATTERN, name):
            raise ValueError(
                f"{name[:64]!r} cannot be a name; it must be 1 to 200 letters, digits and . _ @ : ~ -, "
                "and begin with a letter or a digit"
            )
    if tenant == RESERVED_TENANT:
        raise ValueError(f"the tenant cannot be {tenant!r}: that name is the deployment's own")
