"""Query parameters of the management API. What cannot be read counts as not given, as in Azure."""

from datetime import UTC, datetime

from starlette.requests import Request


def flag(request: Request, name: str, *, default: bool = False) -> bool:
    """A ``true`` or ``false``."""
    return {"true": True, "false": False}.get(request.query_params.get(name, "").lower(), default)


def whole(request: Request, name: str) -> int | None:
    """A whole number that is not negative."""
    value = request.query_params.get(name, "")
    return int(value) if value.isascii() and value.isdigit() else None


def seconds(request: Request, name: str) -> float | None:
    """A number of seconds."""
    try:
        return float(request.query_params[name])
    except (KeyError, ValueError):
        return None


def moment(request: Request, name: str) -> datetime | None:
    """An ISO 8601 date and time; without an offset it is UTC."""
    text = request.query_params.get(name, "")
    # The "+" of an offset that nobody escaped arrives as a space.
    for candidate in (text, "+".join(text.rsplit(" ", 1))):
        try:
            value = datetime.fromisoformat(candidate)
        except ValueError:
            continue
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return None
