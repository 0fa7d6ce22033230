"""Remembered facts."""

from collections.abc import AsyncIterator

import pytest

from tests.memory_stores import Memory, fresh_memory

pytestmark = pytest.mark.anyio


@pytest.fixture
async def memory() -> AsyncIterator[Memory]:
    async with fresh_memory() as memory:
        yield memory


async def recalled(memory: Memory, query: str, tenant: str = "t", user: str = "ann", limit: int = 5) -> list[str]:
    return [fact.fact for fact in await memory.facts.recall(tenant, user, query, limit)]


async def test_the_fact_nearest_to_the_query_comes_first(memory: Memory) -> None:
    for fact in ("Favourite colour: teal.", "Lives in Lisbon.", "Has a dog named Rex."):
        assert await memory.facts.remember("t", "ann", fact, "task")
    assert (await recalled(memory, "dog"))[0] == "Has a dog named Rex."
    assert (await recalled(memory, "favourite colour", limit=1)) == ["Favourite colour: teal."]


async def test_a_fact_is_remembered_once_however_it_is_written(memory: Memory) -> None:
    assert await memory.facts.remember("t", "ann", "Lives in Lisbon.", "task")
    for again in ("Lives in Lisbon.", "lives  in\nlisbon", " LIVES IN LISBON! "):
        assert not await memory.facts.remember("t", "ann", again, "task")
    assert await recalled(memory, "Lisbon") == ["Lives in Lisbon."]


async def test_facts_are_the_users_own(memory: Memory) -> None:
    await memory.facts.remember("t", "ann", "Lives in Lisbon.", "task")
    assert await recalled(memory, "Lisbon", user="bob") == []
    assert await recalled(memory, "Lisbon", tenant="u") == []


async def test_facts_and_documents_do_not_mix(memory: Memory) -> None:
    await memory.facts.remember("t", "ann", "Lives in Lisbon.", "task")
    await memory.load("t", "ann", "cities", "Lisbon is in Portugal.")
    assert await recalled(memory, "Lisbon") == ["Lives in Lisbon."]
    assert [one.text for one in await memory.memories.search("t", "ann", "Lisbon", 5)] == ["Lisbon is in Portugal."]


async def test_nothing_remembered_is_nothing_recalled(memory: Memory) -> None:
    assert await recalled(memory, "Lisbon") == []
