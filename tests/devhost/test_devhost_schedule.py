"""Schedules of timer triggers."""

from datetime import UTC, datetime, timedelta

import pytest

from devhost.schedule import ScheduleError, parse_schedule

FRIDAY = datetime(2026, 11, 20, 12, 0, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "following"),
    [
        ("*/5 * * * * *", datetime(2026, 11, 20, 12, 0, 10, tzinfo=UTC)),
        ("0 */5 * * * *", datetime(2026, 11, 20, 12, 5, tzinfo=UTC)),
        ("*/5 * * * *", datetime(2026, 11, 20, 12, 5, tzinfo=UTC)),
        ("0 30 9 * * 1-5", datetime(2026, 11, 23, 9, 30, tzinfo=UTC)),
        ("0 0 0 * Jan Mon", datetime(2027, 1, 4, tzinfo=UTC)),
        ("00:00:30", FRIDAY + timedelta(seconds=30)),
        ("1.00:00:00", FRIDAY + timedelta(days=1)),
        ("25:00:00", FRIDAY + timedelta(days=25)),
        ("25:00:00:00", FRIDAY + timedelta(days=25)),
    ],
)
def test_a_schedule_tells_the_time_of_the_next_run(schedule: str, following: datetime) -> None:
    assert parse_schedule(schedule).after(FRIDAY) == following


def test_day_of_month_and_day_of_week_must_both_match() -> None:
    # The 13th of a month that is a Friday; plain cron would take any 13th and any Friday.
    assert parse_schedule("0 0 0 13 * 5").after(FRIDAY) == datetime(2027, 8, 13, tzinfo=UTC)


def test_a_setting_may_hold_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTLY", "0 0 2 * * *")
    assert parse_schedule("%NIGHTLY%").after(FRIDAY) == datetime(2026, 11, 21, 2, tzinfo=UTC)


@pytest.mark.parametrize("schedule", ["", "sometimes", "* * * *", "0 99 * * * *", "00:00:00", "%NOT_SET%"])
def test_a_schedule_that_means_nothing_is_refused(schedule: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(schedule)
