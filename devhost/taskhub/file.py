"""The hub's file: its schema, and opening it so that nothing can be damaged."""

import contextlib
import sqlite3
from pathlib import Path
from textwrap import shorten

from google.protobuf.message import DecodeError

from devhost.errors import StateError

APPLICATION_ID = 0x70647268
VERSION = 1

UNREADABLE = (DecodeError, ValueError, TypeError)
"""What reading a damaged value comes to, where SQLite itself finds nothing wrong: it keeps no checksums."""

DAMAGED = "it is damaged. Move it away to start with an empty hub"
LONGEST_REASON = 200

SCHEMA = """
CREATE TABLE instances (
    id TEXT PRIMARY KEY, execution INTEGER NOT NULL, name TEXT NOT NULL, version TEXT, status INTEGER NOT NULL,
    created INTEGER NOT NULL, updated INTEGER NOT NULL, completed INTEGER, start_at INTEGER,
    input TEXT, output TEXT, custom_status TEXT, failure BLOB, trace BLOB, tags TEXT NOT NULL,
    parent_id TEXT, parent_execution INTEGER, parent_task INTEGER, parent_name TEXT
) WITHOUT ROWID;
CREATE INDEX instances_by_creation ON instances (created, id);
CREATE INDEX instances_by_status ON instances (status, completed, id);
CREATE INDEX instances_by_parent ON instances (parent_id) WHERE parent_id IS NOT NULL;
CREATE TABLE history (
    instance TEXT NOT NULL, execution INTEGER NOT NULL, episode INTEGER NOT NULL, events BLOB NOT NULL,
    PRIMARY KEY (instance, execution, episode)
) WITHOUT ROWID;
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY, target TEXT NOT NULL, execution INTEGER, due INTEGER, event BLOB NOT NULL
);
CREATE INDEX messages_by_target ON messages (target);
CREATE TABLE activities (
    instance TEXT NOT NULL, execution INTEGER NOT NULL, task INTEGER NOT NULL, request BLOB NOT NULL,
    PRIMARY KEY (instance, execution, task)
) WITHOUT ROWID;
CREATE TABLE entities (id TEXT PRIMARY KEY, state TEXT, modified INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE locks (
    section TEXT PRIMARY KEY, seq INTEGER NOT NULL, instance TEXT NOT NULL, execution INTEGER NOT NULL,
    entities TEXT NOT NULL, granted INTEGER NOT NULL
) WITHOUT ROWID;
"""
"""`history` holds the events of one episode a row, as a HistoryChunk. Rows are only added, or removed with all of an
execution."""


class HubFile:
    """The open file, which no other host can open until it is closed or its process has ended, however it ended.

    Attributes:
        writer: For the journal alone.
        reader: Sees what is committed.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """Opens the file, or makes it.

        Args:
            durable: Wait for the disk at every commit. False: for a hub that is thrown away at its end.

        Raises:
            StateError: It cannot be used; nothing was changed.
        """
        self.path = path
        with contextlib.ExitStack() as opened:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = opened.enter_context(contextlib.closing(_locked(path)))
                self.writer = opened.enter_context(contextlib.closing(_connected(path)))
                # Until it is known to be a hub and a sound one, not even its journal is touched.
                self.writer.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
                self.writer.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
                _prepare(self.writer, path)
                self.writer.execute("PRAGMA journal_mode = WAL")
                self.writer.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, False)
                self.reader = opened.enter_context(contextlib.closing(_connected(path)))
                self.reader.execute("PRAGMA query_only = TRUE")
            except (OSError, sqlite3.Error, *UNREADABLE) as error:
                raise state_error(path, error) from error
            self._opened = opened.pop_all()

    def close(self) -> None:
        self._opened.close()


def open_to_read(path: Path) -> sqlite3.Connection:
    """The file as it is, whether a host uses it or not, to look at only.

    Raises:
        StateError: There is none, or it cannot be read.
    """
    if not path.is_file():
        raise StateError(f"no task hub in {path.parent}: start the host there first, or say --state DIR")
    with contextlib.ExitStack() as opened:
        try:
            uri = f"{path.resolve().as_uri()}?mode=ro"
            connection = opened.enter_context(contextlib.closing(sqlite3.connect(uri, uri=True)))
            _recognise(connection, path)
        except sqlite3.Error as error:
            raise state_error(path, error) from error
        opened.pop_all()
    return connection


def in_use(path: Path) -> bool:
    """Whether a host has the file open."""
    lock = path.with_suffix(".lock")
    if not lock.is_file():
        return False
    try:
        with contextlib.closing(sqlite3.connect(f"{lock.resolve().as_uri()}?mode=ro", uri=True, timeout=0)) as probe:
            probe.execute("SELECT 1 FROM sqlite_schema").fetchall()
    except sqlite3.Error as error:
        return error.sqlite_errorname == "SQLITE_BUSY"
    return False


def state_error(path: Path, error: Exception) -> StateError:
    """What to tell of a failure of the file."""
    if isinstance(error, StateError):
        return error
    # What Python's module itself refuses has no name; text that is none is an OperationalError.
    name = getattr(error, "sqlite_errorname", "")
    unreadable = isinstance(error, UNREADABLE) or (isinstance(error, sqlite3.OperationalError) and not name)
    if unreadable or name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        advice = DAMAGED
    elif name in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC"):
        advice = "the disk takes no more. Make room and start again: whatever was acknowledged is there"
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
        advice = "it cannot be written. Make it and its folder writable, or say --state DIR, or --ephemeral"
    elif isinstance(error, PermissionError):
        advice = "its folder cannot be written. Make it writable, or say --state DIR, or --ephemeral"
    else:
        advice = "it cannot be used"
    return StateError(f"the task hub in {path}: {advice} ({shorten(str(error), LONGEST_REASON)})")


def _connected(path: Path) -> sqlite3.Connection:
    # Commits are made by a thread of the journal; never two threads at once.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)


def _locked(path: Path) -> sqlite3.Connection:
    """A transaction that is never ended, in a file of its own: what SQLite locks is free again when a process dies."""
    # For a moment, it may be locked by one who asks whether it is.
    lock = sqlite3.connect(path.with_suffix(".lock"), isolation_level=None, timeout=0.1)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if error.sqlite_errorname == "SQLITE_BUSY":
            raise StateError(f"another host uses the task hub in {path}: stop it, or say --state DIR") from error
        raise
    return lock


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables:
        identity = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {identity} COMMIT;")
        return
    _recognise(connection, path)
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StateError(f"the task hub in {path}: {DAMAGED} ({shorten(verdict, LONGEST_REASON)})")
    # A file that can be read but not written is found here, and not by the first task.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _recognise(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if found != APPLICATION_ID:
        raise StateError(f"{path} is no task hub: move it away, or say --state DIR")
    if version != VERSION:
        raise StateError(f"{path} was written by another version of this host: move it away to start with an empty hub")
