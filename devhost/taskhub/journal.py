"""The one writer of the hub's file: batches in their order, as many as have come in one transaction.

Writes are executed on the event loop, which takes microseconds; the commit, which waits for the disk, has a thread.
Batches that come meanwhile are the next transaction. So the more there is to do, the fewer commits each of it needs.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from devhost.taskhub.state import Batch


class Journal:
    """Makes batches durable.

    Args:
        connection: To the file, in autocommit mode.
        on_failure: Told once if a write fails. Nothing is written any more after that, for what is in memory by then is
            ahead of the file for ever.
    """

    def __init__(self, connection: sqlite3.Connection, on_failure: Callable[[sqlite3.Error], None]) -> None:
        self._connection = connection
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hub-commit")
        self._waiting: list[Batch] = []
        self._busy = False
        self._failed = False
        self._idle = asyncio.Event()
        self._idle.set()

    def write(self, batch: Batch) -> None:
        """Takes a batch; its ``then`` is called when it is durable."""
        if self._failed:
            return
        self._waiting.append(batch)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            # Whatever else happens in this turn of the loop joins the transaction.
            self._loop.call_soon(self._begin)

    async def close(self) -> None:
        """Waits for what was taken and for what follows from it, and ends the thread."""
        while self._busy and not self._failed:
            await self._idle.wait()
        self._thread.shutdown()

    def _begin(self) -> None:
        batches, self._waiting = self._waiting, []
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for batch in batches:
                for sql, parameters in batch.writes:
                    execute(sql, parameters)
        except sqlite3.Error as error:
            self._fail(error)
            return
        done = self._loop.run_in_executor(self._thread, self._connection.commit)
        done.add_done_callback(lambda done: self._end(batches, done))

    def _end(self, batches: list[Batch], done: asyncio.Future[None]) -> None:
        if (error := done.exception()) is not None:
            assert isinstance(error, sqlite3.Error), error
            self._fail(error)
            return
        for batch in batches:
            for call in batch.then:
                self._loop.call_soon(call)
        if self._waiting:
            self._begin()
        else:
            self._busy = False
            self._idle.set()

    def _fail(self, error: sqlite3.Error) -> None:
        self._failed = True
        self._waiting.clear()
        self._idle.set()
        # Where the disk fails, this may too; the file is as it was at the last commit either way.
        with contextlib.suppress(sqlite3.Error):
            self._connection.rollback()
        self._on_failure(error)
