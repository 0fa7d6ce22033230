"""Ingestions of one document and its removal at the same time, in any order of their requests to the store."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.documents.containers import MEMORIES
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.ingestion import BatchRef, DocumentRef
from perdure.stores.ingestion import IngestionFailed
from perdure.stores.memory_documents import document_id
from tests.memory_stores import Memory, memory_over

TITLE, TEXT = "guide", "# Tea\n\nTea is served at four.\n\n# Coffee\n\nCoffee is served at ten."
DOCUMENT = document_id(TITLE, TEXT)


class Turns:
    """Lets actors go on one at a time, each up to its next request to the store, in the order of a script."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._moved = asyncio.Event()

    def store(self, store: SqliteDocuments, actor: str) -> Any:
        return TurnTaking(store, lambda: self.wait(actor))

    async def wait(self, actor: str) -> None:
        turn = self._waiting[actor] = asyncio.get_running_loop().create_future()
        self._moved.set()
        await turn

    async def play(self, actors: dict[str, Awaitable[None]], script: list[int]) -> None:
        """Run all actors to their end; the script says whose turn it is, and when it is over, the first one's."""
        tasks = [asyncio.ensure_future(self._after_its_first_turn(name, act)) for name, act in actors.items()]
        for task in tasks:
            task.add_done_callback(lambda _: self._moved.set())
        turns = iter(script)
        while not all(task.done() for task in tasks):
            if len(self._waiting) < sum(not task.done() for task in tasks):
                self._moved.clear()
                await self._moved.wait()
                continue
            names = sorted(self._waiting)
            self._waiting.pop(names[next(turns, 0) % len(names)]).set_result(None)
        for task in tasks:
            task.result()

    async def _after_its_first_turn(self, actor: str, act: Awaitable[None]) -> None:
        await self.wait(actor)
        await act


class TurnTaking:
    """A store that waits for a turn before every request."""

    def __init__(self, store: SqliteDocuments, turn: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._turn = turn

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._store, name)

        async def in_turn(*args: Any, **fields: Any) -> Any:
            await self._turn()
            return await act(*args, **fields)

        return in_turn


async def ingest(memory: Memory, ref: DocumentRef, embedded: asyncio.Event) -> None:
    """What the orchestration does."""
    work = memory.ingestion
    await work.stage(ref, TITLE, TEXT)
    try:
        for number in range(await work.split(ref)):
            await work.embed(BatchRef(ref.tenant, ref.user, ref.document, ref.ingestion, number))
        embedded.set()
        await work.publish(ref)
    except IngestionFailed:
        embedded.set()
        await work.discard(ref)


async def repeat(memory: Memory, ref: DocumentRef, embedded: asyncio.Event, turns: Turns) -> None:
    """Activities that run once more, however late: a task hub delivers at least once."""
    while not embedded.is_set():
        await turns.wait("repeat")
    with suppress(IngestionFailed):
        await memory.ingestion.embed(BatchRef(ref.tenant, ref.user, ref.document, ref.ingestion, 0))
    with suppress(IngestionFailed):
        await memory.ingestion.publish(ref)


async def remove(memory: Memory) -> None:
    await memory.memories.remove("t", "ann", DOCUMENT)


async def race(script: list[int]) -> None:
    store, turns, embedded = SqliteDocuments(":memory:"), Turns(), asyncio.Event()
    await memory_over(store).ingestion.check()
    one, two = (DocumentRef("t", "ann", DOCUMENT, name) for name in ("one", "two"))

    def over(actor: str) -> Memory:
        return memory_over(turns.store(store, actor))

    actors = {
        "one": ingest(over("one"), one, embedded),
        "two": ingest(over("two"), two, asyncio.Event()),
        "repeat": repeat(over("repeat"), one, embedded, turns),
        "remove": remove(over("remove")),
        "remove too": remove(over("remove too")),
    }
    await turns.play(actors, script)
    page = await store.page(MEMORIES, ("t", "ann"), limit=1000)
    stored = {one.body["id"]: one.body for one in page.items}
    memory = memory_over(store)
    if (published := await memory.memories.get("t", "ann", DOCUMENT)) is None:
        assert stored == {}
        assert await memory.memories.search("t", "ann", "coffee", 5) == []
    else:
        passages = [body for body in stored.values() if body["type"] == "chunk"]
        assert (len(passages), len(stored)) == (published.passages, published.passages + 1)
        assert {body["ingestion"] for body in passages} == {published.ingestion}
        assert "Coffee" in (await memory.memories.search("t", "ann", "coffee", 5))[0].text
    await store.close()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=10, max_size=150))
def test_a_document_is_there_with_all_its_passages_or_not_at_all(script: list[int]) -> None:
    asyncio.run(race(script))
