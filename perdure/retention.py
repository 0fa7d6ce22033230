"""How long things are kept. One table; every line is a setting."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

DAY = 24 * 3600


class RetentionError(ValueError):
    """A retention setting is no number of days. The message names it."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Days from the last write until something expires; 0 keeps it for ever. Set by PERDURE_KEEP_<NAME>_DAYS.

    Attributes:
        tasks: Tasks with their steps and tool calls.
        threads: Conversations and their messages.
        memories: Loaded documents, their passages, and remembered facts.
        outbox: Messages that agents want to send.
        history: Durable history of orchestrations that have ended, from their start.
    """

    tasks: float = 30
    threads: float = 90
    memories: float = 0
    outbox: float = 30
    history: float = 7

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Retention":
        """Read the table. Raises RetentionError."""
        given = {
            field.name: environ.get(f"PERDURE_KEEP_{field.name.upper()}_DAYS", "").strip() for field in fields(cls)
        }
        return cls(**{name: _days(name, text) for name, text in given.items() if text})


def ttl(days: float) -> dict[str, int]:
    """The property that makes a stored document expire; none for what is kept for ever."""
    return {"ttl": max(1, round(days * DAY))} if days else {}


def _days(name: str, text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days <= 36_500:
        setting = f"PERDURE_KEEP_{name.upper()}_DAYS"
        raise RetentionError(f"{setting} is {text!r}; it must be a number of days from 0 (for ever) to 36500")
    return days
