"""Calls to be made at a given time."""

import heapq
import threading
from collections.abc import Callable
from datetime import UTC, datetime


class Alarm:
    """Calls functions at given times, on one thread however many there are."""

    def __init__(self) -> None:
        self._due: list[tuple[datetime, int, Callable[[], None]]] = []
        self._changed = threading.Condition()
        self._count = 0
        self._stopped = False
        threading.Thread(target=self._run, name="hub-alarm", daemon=True).start()

    def at(self, when: datetime, call: Callable[[], None]) -> None:
        """Has ``call`` called at that time, or at once if it is past."""
        with self._changed:
            self._count += 1
            heapq.heappush(self._due, (when, self._count, call))
            self._changed.notify()

    def stop(self) -> None:
        """Forgets all calls and ends the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and not (self._due and self._due[0][0] <= datetime.now(UTC)):
                    wait = (self._due[0][0] - datetime.now(UTC)).total_seconds() if self._due else None
                    self._changed.wait(wait)
                if self._stopped:
                    return
                _, _, call = heapq.heappop(self._due)
            call()
