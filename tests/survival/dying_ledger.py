"""A ledger whose process dies at a moment of a tool call that is chosen beforehand.

The moments are all those at which carrying out a call waits for something: the store, the tool, another attempt. Just
there another process might see what it has done so far.
"""

import itertools
import os
import signal
from collections.abc import Awaitable, Callable, Generator
from datetime import timedelta
from typing import Any

GRACE = timedelta(seconds=0.2)
"""How long another attempt may still be at work; here, none is left alive to."""


class _Counted:
    """Awaits something, and tells of each time that it waits."""

    def __init__(self, awaited: Awaitable[Any], reach: Callable[[], None]) -> None:
        self._awaited = awaited
        self._reach = reach

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._awaited.__await__()
        sent: Any = None
        while True:
            try:
                waits_for = inner.send(sent)
            except StopIteration as end:
                self._reach()
                return end.value
            self._reach()
            sent = yield waits_for


def be_quick() -> None:
    """Does not wait for attempts that are dead."""
    from perdure.loop import tool_call
    from perdure.stores import starts

    tool_call.GRACE = starts.TAKEOVER = GRACE


def die_at(tool: str, point: int) -> None:
    """Has this process kill itself at that point of carrying out calls of a tool, counted from 1."""
    # Only here, where the app's folder comes first among those that modules are imported from.
    from perdure.loop import tool_call

    be_quick()
    points = itertools.count(1)
    carry_out = tool_call.carry_out

    def reach() -> None:
        if next(points) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    async def carry_out_and_die(app: Any, called: Any, ref: Any) -> Any:
        work = carry_out(app, called, ref)
        return await (_Counted(work, reach) if called.name == tool else work)

    tool_call.carry_out = carry_out_and_die
