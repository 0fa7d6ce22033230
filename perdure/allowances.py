"""How much users, tenants and model deployments may use. Every line is a setting; 0 is without limit."""

from collections.abc import Mapping
from dataclasses import dataclass

MOST_TASKS = 10_000
"""Largest limit of a tenant's tasks: they stand in one document."""


class AllowanceError(ValueError):
    """A setting is no amount. The message names it."""


@dataclass(frozen=True, slots=True)
class Allowances:
    """What may be used.

    Attributes:
        user_tasks: Tasks of one user that may run at once.
        tenant_tasks: Tasks of one tenant that may run at once.
    """

    user_tasks: int = 100
    tenant_tasks: int = 1000

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Allowances":
        """Read the table. Raises AllowanceError."""

        def count(name: str, default: int, most: int) -> int:
            text = environ.get(name, "").strip()
            if not text:
                return default
            if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) <= most):
                raise AllowanceError(f"{name} is {text!r}; it must be a whole number up to {most}, or 0 for any number")
            return int(text)

        return cls(
            user_tasks=count("PERDURE_LIMIT_USER_TASKS", cls().user_tasks, MOST_TASKS),
            tenant_tasks=count("PERDURE_LIMIT_TENANT_TASKS", cls().tenant_tasks, MOST_TASKS),
        )
