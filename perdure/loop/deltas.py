"""A model's text while it is being written: kept beside the task for those who follow it, until the step is recorded.

One document a step says what the model has written so far and in which attempt. It is written over as the text grows,
so that whoever comes late or reconnects reads it whole, and it goes when the step is there, which has all of the text.
"""

import asyncio
import logging
import secrets
from contextlib import suppress
from types import TracebackType
from typing import Self

from perdure.documents.port import DocumentError
from perdure.domain.references import StepRef
from perdure.stores.tasks import TaskStore

SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 1.0
"""How long at least one write comes after another: ten a second for a short text, one for a long one."""

LAST_SECONDS = 1.0
"""How long a write that is under way is waited for when the step is done."""

CHARACTERS_PER_SECOND = 16_000
"""A text of so many characters is written once a second, for each write costs by its size."""

logger = logging.getLogger(__name__)


class Deltas:
    """The text of one attempt at a step, on its way to the store. Nothing here ever fails or delays the step.

    Args:
        tasks: Where it is written; None writes nothing.
    """

    def __init__(self, tasks: TaskStore | None, ref: StepRef) -> None:
        self._tasks = tasks
        self._ref = ref
        self._attempt = secrets.token_hex(4)
        self._text = ""
        self._written = 0
        self._news = asyncio.Event()
        self._putting: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        self._writing = asyncio.create_task(self._write()) if self._tasks else None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writing:
            self._writing.cancel()
            await asyncio.wait({self._writing, *([self._putting] if self._putting else [])}, timeout=LAST_SECONDS)

    async def add(self, text: str) -> None:
        """Take in another piece of the text."""
        self._text += text
        self._news.set()

    async def clear(self) -> None:
        """Remove what was written, now that the step is recorded."""
        if self._tasks and self._written:
            with suppress(DocumentError):  # It expires.
                await self._tasks.remove_delta(self._ref)

    async def _write(self) -> None:
        assert self._tasks
        try:
            while True:
                pause = len(self._text) / CHARACTERS_PER_SECOND
                await asyncio.sleep(min(max(pause, SHORTEST_SECONDS), LONGEST_SECONDS))
                await self._news.wait()
                self._news.clear()
                self._written = len(self._text)
                self._putting = asyncio.ensure_future(self._tasks.put_delta(self._ref, self._attempt, self._text))
                # To its end even when the step is done: cut off, it might come after the removal.
                await asyncio.shield(self._putting)
        except DocumentError as error:
            logger.warning("What task %s is writing cannot be followed: %s", self._ref.task, error)
