"""A task hub over gRPC on a loop of its own, as programs that know nothing of the devhost use it."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

from devhost.taskhub.server import serve
from devhost.taskhub.service import TaskHub


@contextlib.contextmanager
def served(path: Path) -> Iterator[str]:
    """The address of a hub."""
    address: Future[str] = Future()
    loop, over = asyncio.new_event_loop(), asyncio.Event()

    async def run() -> None:
        hub = TaskHub(path, durable=False, on_failure=address.set_exception)
        server, found = await serve(hub)
        address.set_result(found)
        await over.wait()
        await server.stop(None)
        await hub.close()

    thread = threading.Thread(target=loop.run_until_complete, args=[run()])
    thread.start()
    try:
        yield address.result(10)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()
