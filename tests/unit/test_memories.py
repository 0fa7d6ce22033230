"""Loaded documents and how they are found."""

from collections.abc import AsyncIterator

import pytest

from perdure.documents.containers import MEMORIES
from perdure.domain.ingestion import BatchRef, DocumentRef
from perdure.stores.memory_documents import REMOVED, document_id, load_id
from tests.memory_stores import Memory, fresh_memory

pytestmark = pytest.mark.anyio

GUIDE = "# Retries\n\nA failed call is repeated with exponential back-off.\n\n# Holidays\n\nWe are closed in August.\n"
EVERYTHING = 1000


@pytest.fixture
async def memory() -> AsyncIterator[Memory]:
    async with fresh_memory() as memory:
        yield memory


async def titles(memory: Memory, tenant: str = "t", user: str = "ann") -> list[str]:
    page = await memory.memories.page(tenant, user, limit=EVERYTHING, continuation=None)
    return [document.title for document in page.documents]


async def stored_ids(memory: Memory) -> list[str]:
    page = await memory.store.page(MEMORIES, ("t", "ann"), limit=100_000)
    return [stored.body["id"] for stored in page.items]


async def test_a_passage_is_found_by_its_words_with_where_it_stands(memory: Memory) -> None:
    loaded = await memory.load("t", "ann", "guide", GUIDE)
    [best, *_] = await memory.memories.search("t", "ann", "When are you closed for holidays?", 5)
    assert (best.document, best.heading, best.text) == ("guide", "Holidays", "We are closed in August.")
    assert (GUIDE[best.start : best.end], best.document_id) == (best.text, loaded)


async def test_what_has_nothing_to_do_with_the_query_is_not_found(memory: Memory) -> None:
    await memory.load("t", "ann", "guide", GUIDE)
    for query in ("zzzz qqqq", "", "?!", "the of and"):
        assert await memory.memories.search("t", "ann", query, 5) == []


async def test_a_search_finds_nothing_where_nothing_was_ever_stored(memory: Memory) -> None:
    assert await memory.memories.search("t", "ann", "closed in August", 5) == []


async def test_the_same_document_again_is_the_same_document(memory: Memory) -> None:
    first = await memory.load("t", "ann", "guide", GUIDE)
    before = await stored_ids(memory)
    assert await memory.load("t", "ann", "guide", GUIDE) == first
    assert await stored_ids(memory) == before
    assert len(await memory.memories.search("t", "ann", "closed in August", 50)) <= 2


async def test_an_ingestion_leaves_nothing_but_the_document_and_its_passages(memory: Memory) -> None:
    loaded = await memory.load("t", "ann", "guide", GUIDE)
    document, *passages = await stored_ids(memory)
    assert document == loaded
    assert [passage.split("-")[::2] for passage in passages] == [[loaded, "00000"], [loaded, "00001"]]


async def test_a_document_that_is_not_published_is_neither_listed_nor_found(memory: Memory) -> None:
    await memory.load("t", "ann", "other", "# August\n\nIn August it is hot.")
    half = DocumentRef("t", "ann", document_id("guide", GUIDE), "one")
    await memory.ingestion.stage(half, "guide", GUIDE)
    await memory.ingestion.split(half)
    await memory.ingestion.embed(BatchRef("t", "ann", half.document, "one", 0))
    assert await titles(memory) == ["other"]
    # The passage that ranks first is not yet to be seen, and those after it are still found.
    assert [one.document for one in await memory.memories.search("t", "ann", "closed in August", 1)] == ["other"]
    await memory.ingestion.publish(half)
    assert [one.document for one in await memory.memories.search("t", "ann", "closed in August", 1)] == ["guide"]


async def test_a_removed_document_is_gone_with_every_page_of_its_passages(memory: Memory) -> None:
    text = "\n\n".join(f"# Part {n}\n\nAugust {n}." for n in range(250))
    loaded = await memory.load("t", "ann", "long", text)
    assert await memory.memories.remove("t", "ann", loaded)
    assert not await memory.memories.remove("t", "ann", loaded)
    assert await memory.memories.search("t", "ann", "August", 5) == []
    assert await stored_ids(memory) == []


async def test_a_removal_cut_short_is_invisible_and_can_be_finished(memory: Memory) -> None:
    loaded = await memory.load("t", "ann", "guide", GUIDE)
    head = await memory.store.read(MEMORIES, ("t", "ann"), loaded)
    assert head
    await memory.store.replace(MEMORIES, ("t", "ann"), {**head.body, "type": REMOVED}, head.etag)
    assert await titles(memory) == []
    assert await memory.memories.search("t", "ann", "closed in August", 5) == []
    assert await memory.memories.is_being_removed("t", "ann", loaded)
    assert await memory.memories.remove("t", "ann", loaded)
    assert await stored_ids(memory) == []


@pytest.mark.parametrize("odd", ["", "x", "a/b", "a\\b", "a?b", "a#b", "é" * 24, "embeddings", "0" * 25, "%00"])
async def test_an_odd_id_is_nobodys_document(memory: Memory, odd: str) -> None:
    await memory.load("t", "ann", "guide", GUIDE)
    assert not await memory.memories.remove("t", "ann", odd)


async def test_a_passage_is_not_removed_as_if_it_were_a_document(memory: Memory) -> None:
    loaded = await memory.load("t", "ann", "guide", GUIDE)
    assert not await memory.memories.remove("t", "ann", f"{loaded}-00000")
    assert len(await memory.memories.search("t", "ann", "closed in August", 50)) >= 1


async def test_nobody_finds_what_another_loaded(memory: Memory) -> None:
    loaded = await memory.load("t", "ann", "guide", GUIDE)
    for tenant, user in (("t", "bob"), ("u", "ann")):
        assert await memory.memories.search(tenant, user, "closed in August", 5) == []
        assert await titles(memory, tenant, user) == []
        assert not await memory.memories.remove(tenant, user, loaded)


async def test_documents_are_listed_in_pages(memory: Memory) -> None:
    for number in range(5):
        await memory.load("t", "ann", str(number), f"Text {number}.")
    seen: list[str] = []
    continuation = None
    while True:
        page = await memory.memories.page("t", "ann", limit=2, continuation=continuation)
        seen += [document.title for document in page.documents]
        if (continuation := page.continuation) is None:
            break
    assert sorted(seen) == ["0", "1", "2", "3", "4"]


async def test_what_a_dead_ingestion_left_can_be_removed(memory: Memory) -> None:
    """The passages were embedded and the load is gone, but the document was never published."""
    document = document_id("guide", "Tea is served at four.")
    ref = DocumentRef("t", "ann", document, "one")
    await memory.ingestion.stage(ref, "guide", "Tea is served at four.")
    await memory.ingestion.split(ref)
    await memory.ingestion.embed(BatchRef("t", "ann", document, "one", 0))
    assert not await memory.memories.remove("t", "ann", document)  # It may still become whole.
    await memory.store.delete(MEMORIES, ("t", "ann"), load_id(document, "one"))
    assert await memory.memories.search("t", "ann", "tea", 5) == []
    assert await memory.memories.remove("t", "ann", document)
    assert not await memory.memories.remove("t", "ann", document)
