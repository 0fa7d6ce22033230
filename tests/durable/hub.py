"""A task hub in which no time passes: a timer is due at once or never, and it still says when it should have been."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import grpc

from devhost.taskhub.alarm import Alarm
from devhost.taskhub.server import serve
from devhost.taskhub.service import TaskHub
from devhost.taskhub.state import MICROSECONDS, now


class HastyAlarm(Alarm):
    """Makes calls at once that are due within `horizon`, and later ones not at all. While it is held, it makes none."""

    def __init__(self, horizon: timedelta, *, held: bool) -> None:
        super().__init__()
        self._horizon = int(horizon.total_seconds() * MICROSECONDS)
        self._held: list[tuple[int, Callable[[], None]]] | None = [] if held else None

    def at(self, due: int, seq: int, call: Callable[[], None]) -> None:
        if due > now() + self._horizon:
            return
        if self._held is None:
            super().at(0, seq, call)
        else:
            self._held.append((seq, call))

    def release(self) -> None:
        """Make the calls that were held, and hold no more."""
        held, self._held = self._held or [], None
        for seq, call in held:
            super().at(0, seq, call)


class _Running:
    """A hub on the event loop of a thread."""

    def __init__(self, hub: TaskHub, server: grpc.aio.Server, address: str, alarm: HastyAlarm) -> None:
        self.address = address
        self.alarm = alarm
        self._hub = hub
        self._server = server

    @classmethod
    async def open(cls, folder: Path, horizon: timedelta, *, held: bool) -> "_Running":
        def fail(error: Exception) -> None:
            raise error

        alarm = HastyAlarm(horizon, held=held)
        hub = TaskHub(folder / "hub.db", durable=False, on_failure=fail, alarm=alarm)
        return cls(hub, *await serve(hub), alarm)

    async def close(self) -> None:
        await self._server.stop(None)
        await self._hub.close()


@contextlib.contextmanager
def hasty_hub(folder: Path, horizon: timedelta, *, held: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """A running hub's address, and what lets its timers go when they are held."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        running = asyncio.run_coroutine_threadsafe(_Running.open(folder, horizon, held=held), loop).result()
        try:
            yield running.address, partial(loop.call_soon_threadsafe, running.alarm.release)
        finally:
            asyncio.run_coroutine_threadsafe(running.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
