"""Who calls, and what a credential may be good for."""

from dataclasses import dataclass
from typing import Literal, get_args

type Scope = Literal["task:run", "task:read", "memory:write", "approve", "admin"]

SCOPES: tuple[Scope, ...] = get_args(Scope.__value__)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: a user of a tenant, and what the credential presented may do."""

    tenant: str
    user: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Whether the credential is good for a scope; `admin` includes the others."""
        return not self.scopes.isdisjoint({scope, "admin"})
