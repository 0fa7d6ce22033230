"""A task hub in which no time passes: a timer is due at once or never, and it still says when it should have been."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from devhost.alarm import Alarm
from devhost.in_memory_hub import InMemoryHub


class HastyAlarm(Alarm):
    """Makes calls at once that are due within `horizon`, and later ones not at all. While it is held, it makes none."""

    def __init__(self, horizon: timedelta, held: bool) -> None:
        super().__init__()
        self._horizon = horizon
        self._held: list[Callable[[], None]] | None = [] if held else None

    def at(self, when: datetime, call: Callable[[], None]) -> None:
        now = datetime.now(UTC)
        if when > now + self._horizon:
            return
        if self._held is None:
            super().at(now, call)
        else:
            self._held.append(call)

    def release(self) -> None:
        """Make the calls that were held, and hold no more."""
        held, self._held = self._held or [], None
        for call in held:
            super().at(datetime.now(UTC), call)


@contextlib.contextmanager
def hasty_hub(horizon: timedelta, held: bool) -> Iterator[tuple[str, Callable[[], None]]]:
    """A running hub's address, and what lets its timers go when they are held."""
    hub = InMemoryHub()
    hub._alarm.stop()
    hub._alarm = alarm = HastyAlarm(horizon, held)
    address = hub.start()
    try:
        yield address, alarm.release
    finally:
        hub.stop()
