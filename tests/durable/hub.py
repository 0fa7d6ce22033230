"""A task hub in which no time passes: a timer is due at once or never, and it still says when it should have been."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from pathlib import Path

from devhost.taskhub.alarm import Alarm
from devhost.taskhub.server import serve
from devhost.taskhub.service import TaskHub
from devhost.taskhub.state import MICROSECONDS, now


class HastyAlarm(Alarm):
    """Makes calls at once that are due within `horizon`, and later ones not at all."""

    def __init__(self, horizon: timedelta) -> None:
        super().__init__()
        self._horizon = int(horizon.total_seconds() * MICROSECONDS)

    def at(self, due: int, seq: int, call: Callable[[], None]) -> None:
        if due <= now() + self._horizon:
            super().at(0, seq, call)


@contextlib.contextmanager
def hasty_hub(folder: Path, horizon: timedelta) -> Iterator[str]:
    """A running hub's address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        address, close = asyncio.run_coroutine_threadsafe(_open(folder, horizon), loop).result()
        try:
            yield address
        finally:
            asyncio.run_coroutine_threadsafe(close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _open(folder: Path, horizon: timedelta) -> tuple[str, Callable[[], Coroutine[None, None, None]]]:
    def fail(error: Exception) -> None:
        raise error

    hub = TaskHub(folder / "hub.db", durable=False, on_failure=fail, alarm=HastyAlarm(horizon))
    server, address = await serve(hub)

    async def close() -> None:
        await server.stop(None)
        await hub.close()

    return address, close
