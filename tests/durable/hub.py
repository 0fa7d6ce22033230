"""A task hub in which no time passes: a timer is due at once or never, and it still says when it should have been."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from devhost.alarm import Alarm
from devhost.in_memory_hub import InMemoryHub


class HastyAlarm(Alarm):
    """Makes calls at once that are due within `horizon`, and later ones not at all."""

    def __init__(self, horizon: timedelta) -> None:
        super().__init__()
        self._horizon = horizon

    def at(self, when: datetime, call: Callable[[], None]) -> None:
        now = datetime.now(UTC)
        if when <= now + self._horizon:
            super().at(now, call)


@contextlib.contextmanager
def hasty_hub(horizon: timedelta) -> Iterator[str]:
    """A running hub's address."""
    hub = InMemoryHub()
    hub._alarm.stop()
    hub._alarm = HastyAlarm(horizon)
    address = hub.start()
    try:
        yield address
    finally:
        hub.stop()
