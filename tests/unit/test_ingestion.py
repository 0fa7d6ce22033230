"""Documents on their way into memory, and what may go wrong there."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from perdure.documents.containers import MEMORIES
from perdure.documents.port import MAX_DOCUMENT_BYTES, StoreUnavailable
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.chunks import chunks
from perdure.domain.ingestion import BatchRef, DocumentRef, Ingestion, Outcome
from perdure.models.embeddings import Vector
from perdure.stores.embedding_space import EmbeddingsMismatch
from perdure.stores.ingestion import MAX_PASSAGES, IngestionFailed
from perdure.stores.memory_documents import document_id
from tests.memory_stores import Memory, memory_over

pytestmark = pytest.mark.anyio

TITLE = "long"
TEXT = "\n\n".join(f"# Part {n}\n\nAugust {n}." for n in range(150))
REF = DocumentRef("t", "ann", document_id(TITLE, TEXT), "one")


class Unreliable:
    """A store that fails before its n-th write, and from then on works again."""

    def __init__(self, store: SqliteDocuments, fails_at: int) -> None:
        self._store = store
        self._fails_at = fails_at
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._store, name)
        if name not in ("create", "upsert", "batch", "delete", "replace"):
            return act

        async def write(*args: Any) -> Any:
            self.writes += 1
            if self.writes == self._fails_at:
                raise StoreUnavailable("for a moment")
            return await act(*args)

        return write


@pytest.fixture
async def store() -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(":memory:")
    yield documents
    await documents.close()


async def contents(store: SqliteDocuments) -> dict[str, Any]:
    page = await store.page(MEMORIES, ("t", "ann"), limit=100_000)
    return {stored.body["id"]: {**stored.body, "created_at": None} for stored in page.items}


async def persistently(memory: Memory) -> None:
    """Ingest with every activity repeated until it works, as the orchestration's retry policy does."""

    async def repeat(act: Any, *args: Any) -> int:
        while True:
            try:
                return await act(*args)
            except StoreUnavailable:
                continue

    await repeat(memory.ingestion.stage, REF, TITLE, TEXT)
    for number in range(await repeat(memory.ingestion.split, REF)):
        await repeat(memory.ingestion.embed, BatchRef("t", "ann", REF.document, "one", number))
    await repeat(memory.ingestion.publish, REF)


async def test_a_store_that_fails_at_any_write_loses_nothing_and_doubles_nothing(store: SqliteDocuments) -> None:
    counting = Unreliable(store, 0)
    await persistently(memory_over(counting))
    expected = await contents(store)
    assert len(expected) == 151
    for fails_at in range(1, counting.writes + 1):
        other = SqliteDocuments(":memory:")
        await persistently(memory_over(Unreliable(other, fails_at)))
        assert await contents(other) == expected, fails_at
        await other.close()


async def test_every_activity_may_run_twice_at_once(store: SqliteDocuments) -> None:
    memory = memory_over(store)
    await asyncio.gather(*(memory.load("t", "ann", TITLE, TEXT) for _ in range(4)))
    assert len(await contents(store)) == 151


@pytest.mark.parametrize(
    "text",
    [
        "word " * 100_000,
        "x" * 400_000,
        "語" * 200_000,
        "\U0001f600" * 130_000,
        "\u0000\u0001" * 70_000,
        "| a | b |\n" * 20_000,
        "```\n" + "code\n" * 30_000,
    ],
    ids=["paragraph of 100,000 tokens", "one word", "no spaces", "astral", "control characters", "table", "open fence"],
)
async def test_text_of_any_shape_is_kept_whole(store: SqliteDocuments, text: str) -> None:
    memory = memory_over(store)
    await memory.load("t", "ann", "odd", text)
    passages = [body for body in (await contents(store)).values() if body["type"] == "chunk"]
    assert [(body["start"], body["end"]) for body in passages] == [(one.start, one.end) for one in chunks(text)]
    assert all(text[body["start"] : body["end"]] == body["text"] for body in passages)
    assert "".join("".join(body["text"] for body in passages).split()) == "".join(text.split())


async def test_what_is_staged_fits_a_document_with_room_to_spare(store: SqliteDocuments) -> None:
    memory = memory_over(store)
    text = "\u0001" * 300_000
    ref = DocumentRef("t", "ann", document_id("worst", text), "one")
    await memory.ingestion.stage(ref, "worst", text)
    await memory.ingestion.split(ref)
    page = await store.page(MEMORIES, ("t", "ann"), limit=1000)
    assert max(len(str(stored.body)) for stored in page.items) < MAX_DOCUMENT_BYTES / 2


async def test_a_document_of_headings_only_is_found_by_them(store: SqliteDocuments) -> None:
    memory = memory_over(store)
    loaded = await memory.load("t", "ann", "headings", "# One\n## Two\n")
    found = await memory.memories.get("t", "ann", loaded)
    assert found
    assert found.passages == 1


async def test_a_document_in_crumbs_is_refused_with_the_limit(store: SqliteDocuments) -> None:
    memory = memory_over(store)
    text = "# a\nb\n" * (MAX_PASSAGES + 1)
    ref = DocumentRef("t", "ann", document_id("crumbs", text), "one")
    await memory.ingestion.stage(ref, "crumbs", text)
    with pytest.raises(IngestionFailed, match="more than 20,000 passages"):
        await memory.ingestion.split(ref)
    await memory.ingestion.discard(ref)
    assert await contents(store) == {}


async def test_a_discarded_document_leaves_nothing(store: SqliteDocuments) -> None:
    memory = memory_over(store)
    await memory.ingestion.stage(REF, TITLE, TEXT)
    await memory.ingestion.split(REF)
    await memory.ingestion.embed(BatchRef("t", "ann", REF.document, "one", 1))
    await memory.ingestion.discard(REF)
    assert await contents(store) == {}


async def test_a_published_document_is_never_discarded(store: SqliteDocuments) -> None:
    memory = memory_over(store)
    await memory.load("t", "ann", TITLE, TEXT)
    await memory.ingestion.stage(REF, TITLE, TEXT)
    await memory.ingestion.discard(REF)
    assert await memory.memories.get("t", "ann", REF.document)
    assert len([body for body in (await contents(store)).values() if body["type"] == "chunk"]) == 150


class Other:
    """Embeddings of another model."""

    model = "text-embedding-3-small"
    dimensions = 2

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        return [[1.0, 0.0] for _ in texts]

    async def close(self) -> None: ...


async def test_another_embedding_model_is_refused_instead_of_compared(store: SqliteDocuments) -> None:
    await memory_over(store).load("t", "ann", TITLE, TEXT)
    before = await contents(store)
    other = memory_over(store, Other())
    with pytest.raises(EmbeddingsMismatch, match=r"feature-hashing-1 with 512 .* text-embedding-3-small with 2"):
        await other.memories.search("u", "bob", "August", 5)
    with pytest.raises(EmbeddingsMismatch, match="PERDURE_EMBEDDING_MODEL"):
        await other.load("t", "ann", "new", "New.")
    with pytest.raises(EmbeddingsMismatch):
        await other.facts.remember("t", "ann", "Likes tea.", "task")
    with pytest.raises(EmbeddingsMismatch):
        await other.ingestion.check()
    assert {id for id, body in (await contents(store)).items() if body["type"] == "chunk"} == {
        id for id, body in before.items() if body["type"] == "chunk"
    }


async def test_the_model_may_change_while_nothing_is_stored(store: SqliteDocuments) -> None:
    assert await memory_over(store).memories.search("t", "ann", "August", 5) == []
    other = memory_over(store, Other())
    await other.load("t", "ann", "new", "New.")
    assert len(await other.memories.search("t", "ann", "anything", 5)) == 1


async def test_an_ingestion_crosses_the_durable_boundary_unchanged() -> None:
    ingestion = Ingestion("i", "t", "ann", ("a", "b"), (1, 2), 3, {"a": "no"})
    assert Ingestion.from_dict(ingestion.to_dict() | {"documents": ["a", "b"], "batches": [1, 2]}) == ingestion
    assert (ingestion.sound, len(ingestion.batch_refs)) == (("b",), 3)


async def test_the_first_failure_of_a_document_stands() -> None:
    once = Ingestion("i", "t", "ann", ("a", "b")).failed(["a", "b"], [Outcome(error="first"), Outcome(1)])
    assert once.failed(["a"], [Outcome(error="second")]).failures == {"a": "first"}
