"""What time it is, which a language model cannot know."""

from datetime import datetime

from perdure.tools import tool


@tool(idempotent=True, timeout=5.0)
def current_time(timezone: str = "UTC") -> dict[str, str]:
    """Tell the current date, time and weekday in a time zone. Use it whenever an answer depends on today or now.

    Returns the time in ISO 8601 with its offset from UTC, the weekday, and the zone it was given in.

    Args:
        timezone: IANA name such as "Europe/Berlin", or a city that names a zone, such as "Tokyo" or "New York".
    """
    from perdure.tools.shipped.time_zones import find_zone  # zoneinfo reads its data from files

    zone = find_zone(timezone)
    now = datetime.now(zone)
    return {"time": now.isoformat(timespec="seconds"), "weekday": f"{now:%A}", "timezone": zone.key}
