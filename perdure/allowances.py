"""How much users, tenants and model deployments may use. Every line is a setting; 0 is without limit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MOST_TASKS = 10_000
"""Largest limit of a tenant's tasks: they stand in one document."""


class AllowanceError(ValueError):
    """A setting is no amount. The message names it."""


@dataclass(frozen=True, slots=True)
class PerModel:
    """An amount by model; 0 for any."""

    others: int = 0
    named: Mapping[str, int] = field(default_factory=dict[str, int])

    def __bool__(self) -> bool:
        return any((self.others, *self.named.values()))

    def of(self, model: str) -> int:
        return self.named.get(model, self.others)


@dataclass(frozen=True, slots=True)
class Allowances:
    """What may be used.

    Attributes:
        user_tasks: Tasks of one user that may run at once.
        tenant_tasks: Tasks of one tenant that may run at once.
        model_tokens: Tokens that a model deployment may be asked for in a minute.
        model_requests: Requests that may be made to it in a minute.
    """

    user_tasks: int = 100
    tenant_tasks: int = 1000
    model_tokens: PerModel = field(default_factory=PerModel)
    model_requests: PerModel = field(default_factory=PerModel)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Allowances":
        """Read the table. Raises AllowanceError."""

        def count(name: str, default: int, most: int) -> int:
            text = environ.get(name, "").strip()
            if not text:
                return default
            if (number := _number(text)) is None or number > most:
                raise AllowanceError(f"{name} is {text!r}; it must be a whole number up to {most}, or 0 for any number")
            return number

        def per_model(name: str) -> PerModel:
            text = environ.get(name, "").strip()
            try:
                return _per_model(text)
            except ValueError:
                right = "a whole number, 0 for any number, or one for each model, as in 60000,gpt-4o=30000"
                raise AllowanceError(f"{name} is {text!r}; it must be {right}") from None

        return cls(
            user_tasks=count("PERDURE_LIMIT_USER_TASKS", cls().user_tasks, MOST_TASKS),
            tenant_tasks=count("PERDURE_LIMIT_TENANT_TASKS", cls().tenant_tasks, MOST_TASKS),
            model_tokens=per_model("PERDURE_MODEL_TPM"),
            model_requests=per_model("PERDURE_MODEL_RPM"),
        )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _per_model(text: str) -> PerModel:
    others, named = 0, dict[str, int]()
    for part in filter(None, (part.strip() for part in text.split(","))):
        model, _, amount = part.rpartition("=")
        if (number := _number(amount.strip())) is None:
            raise ValueError(part)
        if model:
            named[model.strip()] = number
        else:
            others = number
    return PerModel(others, named)
