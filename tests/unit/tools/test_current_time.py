"""The time in a zone somebody means."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from activities.tools.current_time import current_time
from perdure.tools import ToolError


def test_the_time_is_now_with_its_offset_and_weekday() -> None:
    told = current_time("Asia/Kolkata")
    moment = datetime.fromisoformat(told["time"])
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    assert moment.utcoffset() == timedelta(hours=5, minutes=30)
    assert told["weekday"] == moment.astimezone(ZoneInfo("Asia/Kolkata")).strftime("%A")


def test_without_a_zone_it_is_utc() -> None:
    assert current_time()["timezone"] == "UTC"


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Tokyo", "Asia/Tokyo"),
        ("New York", "America/New_York"),
        (" new  york ", "America/New_York"),
        ("São Paulo", "America/Sao_Paulo"),
        ("America/Argentina/Buenos Aires", "America/Argentina/Buenos_Aires"),
    ],
)
def test_zones_and_cities_are_found_however_they_are_written(name: str, zone: str) -> None:
    assert current_time(name)["timezone"] == zone


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Berln", "did you mean Europe/Berlin"),
        ("Europe/Berlyn", "did you mean Europe/Berlin"),
        ("", "give an IANA name"),
        ("../../etc/passwd", "There is no time zone"),
        ("localtime", "There is no time zone"),
        ("x" * 100_000, "There is no time zone 'x{60}'"),
    ],
)
def test_an_unknown_zone_is_told_with_the_nearest(name: str, says: str) -> None:
    with pytest.raises(ToolError, match=says):
        current_time(name)
