"""Finding the time zone that somebody means."""

import functools
import unicodedata
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from perdure.tools.tool import ToolError

MAX_CHARACTERS = 60

_REGIONS = {"Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"}
"""Parts of the world whose zones are named after places; the others (US/Eastern, Etc/GMT+5) name rules."""

_NO_PLACE = {"localtime", "Factory"}
"""Whatever this machine is set to, and the placeholder for a machine that is not set."""


def find_zone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name or of a city that names one, whatever its case and accents.

    Raises:
        ToolError: There is no such zone; the message suggests the nearest.
    """
    zones = _zones()
    key = _key(name[:MAX_CHARACTERS])
    if key in zones:
        return ZoneInfo(zones[key])
    near = list(dict.fromkeys(zones[match] for match in get_close_matches(key, zones, 5)))[:3]
    hint = f"did you mean {', '.join(near)}?" if near else "give an IANA name such as Europe/Berlin."
    raise ToolError(
        f"There is no time zone {name[:MAX_CHARACTERS]!r}; {hint} (Few cities name a zone; find the one it lies in.)"
    )


@functools.cache
def _zones() -> dict[str, str]:
    """Every way to name a zone; where a city's name is also a zone's (Singapore, Hongkong), the zone wins."""
    names = sorted(available_timezones() - _NO_PLACE)
    cities = {_key(name.rpartition("/")[2]): name for name in reversed(names) if name.partition("/")[0] in _REGIONS}
    return {**cities, **{_key(name): name for name in names}}


def _key(name: str) -> str:
    bare = "".join(part for part in unicodedata.normalize("NFD", name.casefold()) if not unicodedata.combining(part))
    return "_".join(bare.replace("_", " ").split())
