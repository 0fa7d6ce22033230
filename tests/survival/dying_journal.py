"""A journal whose process dies at a commit that is chosen beforehand."""

import itertools
import os
import signal
import sqlite3
from collections.abc import Callable
from typing import Any

from devhost.taskhub.journal import Journal

POINTS_PER_COMMIT = 2
"""When all writes of a transaction were made but not committed, and when they were but nobody knows."""


class _Connection:
    def __init__(self, connection: sqlite3.Connection, reach: Callable[[], None]) -> None:
        self._connection = connection
        self._reach = reach

    def commit(self) -> None:
        self._reach()
        self._connection.commit()
        self._reach()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def die_at(point: int) -> None:
    """Has this process kill itself at that point of all its commits, counted from 1."""
    points = itertools.count(1)

    def reach() -> None:
        if next(points) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    make = Journal.__init__

    def make_dying(self: Journal, connection: sqlite3.Connection, on_failure: Callable[[sqlite3.Error], None]) -> None:
        dying: Any = _Connection(connection, reach)
        make(self, dying, on_failure)

    Journal.__init__ = make_dying
