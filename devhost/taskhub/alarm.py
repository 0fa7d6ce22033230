"""Calls to be made at a time of this machine's clock."""

import asyncio
import heapq
from collections.abc import Callable

from devhost.taskhub.state import MICROSECONDS, now

LOOK_SECONDS = 60.0
"""Longest sleep: a clock that was set forward is noticed within it."""


class Alarm:
    """Makes calls when they are due, on the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, Callable[[], None]] = {}
        self._due: list[tuple[int, int]] = []
        self._handle: asyncio.TimerHandle | None = None

    def at(self, due: int, seq: int, call: Callable[[], None]) -> None:
        """Has ``call`` called at that time, or at once if it is past; calls of one time in the order of ``seq``."""
        self._calls[seq] = call
        heapq.heappush(self._due, (due, seq))
        if self._due[0][1] == seq:
            self._set()

    def cancel(self, seq: int) -> None:
        """Forgets a call, if it was not made."""
        self._calls.pop(seq, None)
        if len(self._due) > 2 * len(self._calls) + 64:
            self._due = [entry for entry in self._due if entry[1] in self._calls]
            heapq.heapify(self._due)

    def stop(self) -> None:
        """Forgets all calls."""
        self._calls.clear()
        self._due.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _set(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        delay = (self._due[0][0] - now()) / MICROSECONDS
        self._handle = self._loop.call_later(max(0.0, min(delay, LOOK_SECONDS)), self._ring)

    def _ring(self) -> None:
        self._handle = None
        time = now()
        while self._due and self._due[0][0] <= time:
            _, seq = heapq.heappop(self._due)
            if (call := self._calls.pop(seq, None)) is not None:
                call()
        if self._due and self._handle is None:
            self._set()
