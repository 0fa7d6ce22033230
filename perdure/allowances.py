"""How much users, tenants and model deployments may use. Every line is a setting; 0 is without limit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TypeIs

from perdure.domain.budget import MICRO, Budget, Price

MOST_TASKS = 10_000
"""Largest limit of a tenant's tasks: they stand in one document."""


MOST = 10**12
"""Largest budget, in tokens and in dollars."""


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
        user_day: What a user may use of models in a day.
        tenant_month: What a tenant may use of them in a month.
        prices: What models cost that are not priced as published.
    """

    user_tasks: int = 100
    tenant_tasks: int = 1000
    model_tokens: PerModel = field(default_factory=PerModel)
    model_requests: PerModel = field(default_factory=PerModel)
    user_day: Budget = field(default_factory=Budget)
    tenant_month: Budget = field(default_factory=Budget)
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])

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

        def money(name: str) -> int | None:
            text = environ.get(name, "").strip()
            if (amount := _amount(text or "0")) is None or amount > MOST:
                raise AllowanceError(f"{name} is {text!r}; it must be an amount of US dollars, or 0 for any amount")
            return int(amount * MICRO) or None

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
            user_day=Budget(
                count("PERDURE_BUDGET_USER_DAY_TOKENS", 0, MOST) or None, money("PERDURE_BUDGET_USER_DAY_USD")
            ),
            tenant_month=Budget(
                count("PERDURE_BUDGET_TENANT_MONTH_TOKENS", 0, MOST) or None, money("PERDURE_BUDGET_TENANT_MONTH_USD")
            ),
            prices=_prices(environ.get("PERDURE_PRICES", "").strip()),
        )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _amount(written: object) -> Decimal | None:
    try:
        amount = Decimal(str(written))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None


def _prices(text: str) -> dict[str, Price]:
    try:
        listed: object = json.loads(text or "{}", parse_float=Decimal)
    except ValueError:
        listed = None
    prices = {model: _price(price) for model, price in listed.items()} if _is_object(listed) else {"": None}
    if None in prices.values():
        right = '{"my-deployment": {"input": 0.25, "output": 2}}'
        raise AllowanceError(f"PERDURE_PRICES must be JSON with US dollars for a million tokens, as in {right}")
    return {model: price for model, price in prices.items() if price}


def _price(written: object) -> Price | None:
    if not _is_object(written) or written.keys() != {"input", "output"}:
        return None
    input, output = _amount(written["input"]), _amount(written["output"])
    return None if input is None or output is None else Price(input, output)


def _is_object(value: object) -> TypeIs[dict[str, object]]:
    return isinstance(value, dict)


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
