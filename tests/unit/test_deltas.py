"""What is kept of a model's text while it is written."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.documents.containers import TASKS
from perdure.documents.port import StoreUnavailable
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.references import StepRef
from perdure.loop.deltas import Deltas
from perdure.stores.tasks import TaskStore

pytestmark = pytest.mark.anyio
REF = StepRef("t", "task", 1)


@pytest.fixture
async def documents() -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(":memory:")
    yield documents
    await documents.close()


async def texts(documents: SqliteDocuments) -> list[str]:
    return [stored.body["text"] for stored in (await documents.page(TASKS, ("t", "task"))).items]


class Counting(TaskStore):
    """Counts what is written, and may refuse or hold it."""

    def __init__(self, documents: SqliteDocuments, fails: bool = False, seconds: float = 0.0) -> None:
        super().__init__(documents)
        self.writes, self._fails, self._seconds = 0, fails, seconds

    async def put_delta(self, *args: Any) -> None:
        self.writes += 1
        await asyncio.sleep(self._seconds)
        if self._fails:
            raise StoreUnavailable("away")
        await super().put_delta(*args)


async def test_a_quick_reply_writes_nothing(documents: SqliteDocuments) -> None:
    tasks = Counting(documents)
    async with (deltas := Deltas(tasks, REF)):
        await deltas.add("Quick.")
    await deltas.clear()
    assert (tasks.writes, await texts(documents)) == (0, [])


async def test_many_pieces_are_few_writes_and_nothing_is_left(documents: SqliteDocuments) -> None:
    tasks = Counting(documents)
    async with (deltas := Deltas(tasks, REF)):
        for _ in range(60):
            await deltas.add("piece ")
            await asyncio.sleep(0.01)
        [text] = await texts(documents)
        assert text.startswith("piece piece ")
    assert 2 <= tasks.writes <= 10
    await deltas.clear()
    assert await texts(documents) == []


async def test_a_store_that_fails_or_hangs_neither_fails_nor_holds_the_step(documents: SqliteDocuments) -> None:
    for tasks in (Counting(documents, fails=True), Counting(documents, seconds=60)):
        async with asyncio.timeout(5), (deltas := Deltas(tasks, REF)):
            for _ in range(30):
                await deltas.add("piece ")
                await asyncio.sleep(0.01)
        assert tasks.writes == 1


async def test_an_error_of_the_model_passes_through(documents: SqliteDocuments) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        async with Deltas(Counting(documents), REF):
            raise RuntimeError("broken")
