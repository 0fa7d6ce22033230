"""Documents of `controls` that many requests change at the same moment, in this process and in others.

A change is a function that alters a body in place. Changes of one document that wait at the same time are written
together, by compare-and-swap against the version that was written last: while no other process writes, each write is
one request to the store, and no read. What this process remembers of a document is never a reason to refuse or to do
nothing; that is decided on what the store says now.
"""

import asyncio
import copy
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from perdure.documents.containers import CONTROLS
from perdure.documents.port import (
    Body,
    DocumentChanged,
    DocumentExists,
    DocumentMissing,
    Documents,
    Partition,
    Stored,
)

type Change = Callable[[Body], bool]
"""Alters a body and says whether it did. What it raises reaches whoever asked for it; then it has altered nothing."""

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.25
"""Seconds at most before a write that came second is tried again: of the first time, and of any."""

REMEMBERED = 1000
"""Documents whose last version is remembered."""


@dataclass(slots=True)
class _Asked:
    """A change somebody waits for."""

    change: Change
    answer: asyncio.Future[bool]


@dataclass(slots=True)
class _Line:
    """Those who wait for a document, one of whom writes for all; and its last version, if it is known."""

    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: list[_Asked] = field(default_factory=list["_Asked"])
    last: Stored | None = None


class ContendedDocuments:
    """Documents by partition and id. One that is not there reads as `empty` does, and is made by its first change."""

    def __init__(self, store: Documents) -> None:
        self._store = store
        self._lines = OrderedDict[tuple[Partition, str], _Line]()

    async def change(self, partition: Partition, empty: Body, change: Change) -> bool:
        """Change the document that has the id of `empty`; returns whether that altered it."""
        line = self._line(partition, empty["id"])
        asked = _Asked(change, asyncio.get_running_loop().create_future())
        line.waiting.append(asked)
        try:
            async with line.writing:
                if not asked.answer.done():
                    await self._write(line, partition, empty)
            return asked.answer.result()
        finally:
            # Of a request that was cancelled nothing is done, unless it is being done already.
            asked.answer.cancel()

    async def _write(self, line: _Line, partition: Partition, empty: Body) -> None:
        batch, line.waiting = [asked for asked in line.waiting if not asked.answer.done()], []
        pause = FIRST_PAUSE
        try:
            while not await self._attempt(line, partition, empty, batch):
                line.last = None
                await asyncio.sleep(random.uniform(0, pause))
                pause = min(pause * 2, LONGEST_PAUSE)
        except Exception as error:
            line.last = None
            for asked in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
        finally:
            # Whoever wrote for the others may have been cancelled; the next of them takes over.
            line.waiting = [asked for asked in batch if not asked.answer.done()] + line.waiting

    async def _attempt(self, line: _Line, partition: Partition, empty: Body, batch: list[_Asked]) -> bool:
        """Read if need be, change and write; False when another process came first."""
        known = line.last is not None
        stored = line.last or await self._store.read(CONTROLS, partition, empty["id"]) or Stored(empty, "")
        body = copy.deepcopy(stored.body)
        outcomes = [_outcome(asked.change, body) for asked in batch]
        if known and not all(outcome is True for outcome in outcomes):
            line.last = None
            return await self._attempt(line, partition, empty, batch)
        if any(outcome is True for outcome in outcomes):
            try:
                if stored.etag:
                    stored = await self._store.replace(CONTROLS, partition, body, stored.etag)
                else:
                    stored = await self._store.create(CONTROLS, partition, body)
            except (DocumentChanged, DocumentExists, DocumentMissing):
                return False
        line.last = stored if stored.etag else None
        for asked, outcome in zip(batch, outcomes, strict=True):
            if asked.answer.done():
                continue
            if isinstance(outcome, Exception):
                asked.answer.set_exception(outcome)
            else:
                asked.answer.set_result(outcome)
        return True

    def _line(self, partition: Partition, id: str) -> _Line:
        line = self._lines.setdefault((partition, id), _Line())
        self._lines.move_to_end((partition, id))
        if len(self._lines) > REMEMBERED:
            oldest, idle = next(iter(self._lines.items()))
            if not idle.waiting and not idle.writing.locked():
                del self._lines[oldest]
        return line


def _outcome(change: Change, body: Body) -> bool | Exception:
    try:
        return change(body)
    except Exception as error:
        return error
