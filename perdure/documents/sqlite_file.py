"""A SQLite file and the thread that works on it.

1. One thread owns the connection. Operations queue for it, and each runs there as a plain function, so an operation
   can neither block the event loop nor interleave with another.
2. Whatever waits in the queue is done in one transaction, a savepoint each, and answered after its commit. Committing
   costs a disk flush, and under load many operations share one.
3. The file is in WAL mode with synchronous=FULL: what was answered survives a crash of the process and of the machine.
   Several processes may use one file.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.documents.port import DocumentError, StoreUnavailable

BUSY_SECONDS = 10.0
"""How long to wait for another process that is writing the same file."""

MAX_GROUP = 256
"""Most operations that share one commit, which bounds how long the first of them waits for the last."""

WRITES_NOTHING = "BEGIN DEFERRED"
"""How the transaction of an operation begins that only reads."""

type Work[T] = Callable[[sqlite3.Connection], T]


@dataclass(frozen=True, slots=True)
class Job[T]:
    """An operation in the queue: what to do, how its transaction begins, and where its answer goes."""

    work: Work[T]
    begin: str
    future: Future[T]


class SqliteFile:
    """A file that operations run on, in groups.

    Args:
        path: The file, created with its folder when missing, or `:memory:`.
        schema: Statements that make its tables when they are not there.
        before_writing: Done at the beginning of every group that writes.
    """

    def __init__(self, path: str, schema: str, before_writing: Callable[[sqlite3.Connection], None]) -> None:
        self._before_writing = before_writing
        self._queue: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._closed = False
        connection = _open(path, schema)
        self._thread = threading.Thread(target=self._serve, args=(connection,), name="documents", daemon=True)
        self._thread.start()

    async def do[T](self, work: Work[T], begin: str = "BEGIN IMMEDIATE") -> T:
        """Run an operation and return its result, once it is on disk.

        Raises:
            DocumentError, ValueError: What the operation raised; it changed nothing.
            StoreUnavailable: The file cannot be read or written now.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        job: Job[T] = Job(work, begin, Future())
        self._queue.put(job)
        return await asyncio.wrap_future(job.future)

    async def close(self) -> None:
        """Do what is in the queue, then close the file."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    def _serve(self, db: sqlite3.Connection) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            more = True
            while more and len(group) < MAX_GROUP:
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    self._queue.put(None)
                    more = False
                else:
                    group.append(item)
            self._commit(db, [job for job in group if job.future.set_running_or_notify_cancel()])
        db.close()

    def _commit(self, db: sqlite3.Connection, group: list[Job[Any]]) -> None:
        answers: list[tuple[Future[Any], Any, Exception | None]] = []
        # Readers wait for no writer, so a group takes the write lock only if one of it writes.
        writes = any(job.begin != WRITES_NOTHING for job in group)
        try:
            db.execute("BEGIN IMMEDIATE" if writes else WRITES_NOTHING)
            if writes:
                self._before_writing(db)
            for job in group:
                db.execute("SAVEPOINT operation")
                try:
                    answers.append((job.future, job.work(db), None))
                except (DocumentError, ValueError) as error:
                    # Handed to whoever awaits the operation; the others of the group go on.
                    db.execute("ROLLBACK TO operation")
                    answers.append((job.future, None, error))
                db.execute("RELEASE operation")
            db.execute("COMMIT")
        except Exception as error:
            # The disk, a lock held too long, a file that is no database: nothing of the group was written.
            if db.in_transaction:
                db.execute("ROLLBACK")
            unavailable = StoreUnavailable(f"SQLite: {error}")
            answers = [(job.future, None, unavailable) for job in group]
        for future, answer, failure in answers:
            if failure is None:
                future.set_result(answer)
            else:
                future.set_exception(failure)


def _open(path: str, schema: str) -> sqlite3.Connection:
    try:
        if path != ":memory:":
            # For the owner alone: it holds what users said.
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The connection is made here, so that a bad path fails the caller, and used by one thread only, ours.
        db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"cannot open the SQLite file {path}: {error}") from error
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            # What is deleted is overwritten, and does not stay legible in the file's free space.
            db.execute("PRAGMA secure_delete = ON")
            db.executescript(schema)
        except sqlite3.Error as error:
            # Changing the journal mode does not wait for another process that is changing it, as everything else does.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                db.close()
                raise StoreUnavailable(f"cannot open the SQLite file {path}: {error}") from error
            time.sleep(0.01)
        else:
            return db
