"""When a timer trigger fires next.

Azure takes an NCRONTAB expression (six fields, seconds first; five fields mean second 0) or a time span, and either
may be the name of an app setting between percent signs. NCRONTAB wants day of month *and* day of week to match.
"""

import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from croniter import croniter


class ScheduleError(ValueError):
    """A schedule that cannot be read."""


@dataclass(frozen=True)
class Every:
    """Fires at a fixed distance from the last time."""

    interval: timedelta

    def after(self, moment: datetime) -> datetime:
        """The next time to fire."""
        return moment + self.interval


@dataclass(frozen=True)
class Cron:
    """Fires at the times of an NCRONTAB expression."""

    expression: str

    def after(self, moment: datetime) -> datetime:
        """The next time to fire."""
        times = croniter(self.expression, moment, second_at_beginning=True, day_or=False)
        return times.get_next(datetime)


Schedule = Every | Cron


def parse_schedule(text: str) -> Schedule:
    """Reads the ``schedule`` of a timer trigger.

    Raises:
        ScheduleError: It is neither of the two forms, or names a setting that does not exist.
    """
    expression = text.strip()
    if len(expression) > 2 and expression.startswith("%") and expression.endswith("%"):
        setting = expression[1:-1]
        if setting not in os.environ:
            raise ScheduleError(f"the schedule {expression} names an app setting that is not set")
        expression = os.environ[setting].strip()
    interval = _time_span(expression)
    if interval is not None:
        return Every(interval)
    fields = expression.split()
    if len(fields) == 5:
        expression = f"0 {expression}"
    if len(fields) not in (5, 6) or not croniter.is_valid(expression, second_at_beginning=True):
        raise ScheduleError(f"'{text}' is neither an NCRONTAB expression (six fields, seconds first) nor a time span")
    return Cron(expression)


def _time_span(text: str) -> timedelta | None:
    """Reads ``hh:mm:ss``, ``d.hh:mm:ss`` or ``dd:hh:mm:ss``; with 24 or more in front, ``hh:mm:ss`` is ``dd:hh:mm``."""
    found = re.fullmatch(r"(?:(\d+)[.:])?(\d+):(\d+):(\d+)", text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    if found[1] is None and hours >= 24:
        days, hours, minutes, seconds = hours, minutes, seconds, 0
    interval = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not interval:
        raise ScheduleError(f"'{text}' is no time at all")
    return interval
