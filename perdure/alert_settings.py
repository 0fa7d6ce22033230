"""Whom to tell of unusual costs, and what is unusual."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

from perdure.domain.budget import MICRO
from perdure.domain.usual_cost import Range

TIMES, TASK_USD, DAY_USD = "5", "1", "10"
"""How many times what is usual may be reached, and what costs are never unusual, unless settings say otherwise."""


class AlertSettingsError(ValueError):
    """A setting is wrong. The message names it."""


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Whom to tell, and of what.

    Attributes:
        webhook: Where messages are posted to. Whoever knows it may be able to write there, so it is a secret.
    """

    webhook: str = field(repr=False)
    task: Range
    day: Range

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "AlertSettings | None":
        """Read the settings; None without a webhook.

        Raises:
            AlertSettingsError: One of them is wrong.
        """

        def amount(name: str, default: str, least: Decimal) -> Decimal:
            text = environ.get(name, "").strip() or default
            try:
                number = Decimal(text)
            except InvalidOperation:
                number = Decimal("NaN")
            if not (number.is_finite() and least <= number <= 10**9):
                raise AlertSettingsError(f"{name} is {text!r}; it must be a number of at least {least}")
            return number

        times = float(amount("PERDURE_ALERT_TIMES", TIMES, Decimal(1)))
        task = amount("PERDURE_ALERT_TASK_USD", TASK_USD, Decimal(0))
        day = amount("PERDURE_ALERT_DAY_USD", DAY_USD, Decimal(0))
        webhook = environ.get("PERDURE_ALERT_WEBHOOK", "").strip()
        if not webhook:
            return None
        if webhook.startswith("@Microsoft.KeyVault("):
            raise AlertSettingsError("PERDURE_ALERT_WEBHOOK is a Key Vault reference that was not resolved")
        if not _is_address(webhook):
            raise AlertSettingsError("PERDURE_ALERT_WEBHOOK is no address: it must start with https:// or http://")
        return cls(webhook, Range(times, int(task * MICRO)), Range(times, int(day * MICRO)))


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
