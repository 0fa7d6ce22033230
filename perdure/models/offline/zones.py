"""Time zones by the places people name."""

import re
import zoneinfo
from functools import cache

_PLACE = re.compile(r"[^\W\d_]+(?:[/_.'’-][^\W\d_]+)*|\d+")
_MAX_WORDS = 3

# Places that people ask about and that no zone is named after.
_ALSO = {
    "Africa/Cairo": "egypt",
    "Africa/Johannesburg": "cape town|south africa",
    "Africa/Lagos": "nigeria",
    "Africa/Nairobi": "kenya",
    "America/Chicago": "houston|dallas|austin|texas|cst|central time",
    "America/Denver": "mst|mountain time|colorado",
    "America/Los_Angeles": "san francisco|seattle|california|san diego|las vegas|portland|pst|pdt|pacific time|la",
    "America/New_York": "nyc|boston|washington|miami|atlanta|philadelphia|est|edt|eastern time|florida",
    "America/Sao_Paulo": "brazil|rio|rio de janeiro|são paulo",
    "America/Toronto": "ottawa|montreal",
    "Asia/Dubai": "abu dhabi|uae",
    "Asia/Jakarta": "indonesia",
    "Asia/Kolkata": "india|mumbai|delhi|new delhi|bangalore|bengaluru|chennai|hyderabad|ist",
    "Asia/Seoul": "south korea|korea",
    "Asia/Shanghai": "china|beijing|shenzhen",
    "Asia/Tokyo": "japan|osaka|kyoto|jst",
    "Australia/Sydney": "canberra|australia",
    "Europe/Amsterdam": "netherlands|holland",
    "Europe/Athens": "greece",
    "Europe/Berlin": "germany|munich|münchen|hamburg|frankfurt|cologne|cest",
    "Europe/Dublin": "ireland",
    "Europe/Istanbul": "turkey|türkiye",
    "Europe/Kyiv": "ukraine",
    "Europe/Lisbon": "portugal",
    "Europe/London": "uk|england|britain|scotland|edinburgh|manchester|bst",
    "Europe/Madrid": "spain|barcelona",
    "Europe/Moscow": "russia",
    "Europe/Oslo": "norway",
    "Europe/Paris": "france|lyon",
    "Europe/Rome": "italy|milan|venice|naples",
    "Europe/Stockholm": "sweden",
    "Europe/Vienna": "austria",
    "Europe/Warsaw": "poland",
    "Europe/Zurich": "switzerland|geneva|zürich",
    "Pacific/Auckland": "new zealand|wellington",
    "UTC": "zulu",
}


@cache
def _by_place() -> dict[str, str]:
    places: dict[str, str] = {}
    # Shortest first: "UTC" before "Etc/UTC", "America/Indianapolis" before "America/Indiana/Indianapolis".
    for zone in sorted(zoneinfo.available_timezones(), key=lambda zone: (len(zone), zone)):
        places[zone.lower()] = zone
        places.setdefault(zone.rsplit("/", 1)[-1].replace("_", " ").lower(), zone)
    for zone, names in _ALSO.items():
        places.update(dict.fromkeys(names.split("|"), zone))
    return places


def find_zone(text: str) -> tuple[str, str] | None:
    """The last place in the text with a known zone, as its words and its IANA zone; the longest reading of them."""
    words = [(match.start(), match.end()) for match in _PLACE.finditer(text)]
    for last in range(len(words), 0, -1):
        for first in range(max(0, last - _MAX_WORDS), last):
            place = text[words[first][0] : words[last - 1][1]]
            # "may" and "la" are words too; a short name counts only in capitals.
            if (len(place) > 3 or not place.islower()) and (zone := _by_place().get(place.lower())):
                return place, zone
    return None
