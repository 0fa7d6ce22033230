"""How long things are kept."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from perdure.documents.port import DocumentMissing
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.messages import Message, Usage
from perdure.domain.references import StepRef
from perdure.domain.task import Agent, Limits, Step, Task
from perdure.domain.thread import Thread, enter
from perdure.models.embeddings import HashingEmbeddings
from perdure.retention import DAY, Retention, RetentionError, ttl
from perdure.stores.embedding_space import EmbeddingSpace
from perdure.stores.facts import FactStore
from perdure.stores.ingestion import IngestionStore
from perdure.stores.memories import MemoryStore
from perdure.stores.tasks import TaskStore
from perdure.stores.threads import ThreadStore
from perdure.stores.tool_cache import ToolCache
from perdure.tools import tool
from tests.memory_stores import Memory

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TASK = Task("id", "t", "u", "q", None, Agent("a", "i", "m", (), Limits(5, 60)), {}, NOW)
STEP = Step(1, "x", (), Usage(), "m", NOW, NOW)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def documents(clock: Clock) -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(":memory:", clock)
    yield documents
    await documents.close()


@tool(idempotent=True, cache_ttl=60)
def rate(currency: str) -> str:
    """Tell a rate.

    Args:
        currency: Of what.
    """
    return currency


def test_the_table_has_defaults_and_every_line_can_be_set() -> None:
    assert Retention.from_env({}) == Retention(tasks=30, threads=90, memories=0, history=7)
    assert Retention.from_env({"PERDURE_KEEP_TASKS_DAYS": "0.5", "PERDURE_KEEP_HISTORY_DAYS": " "}).tasks == 0.5


@pytest.mark.parametrize("days", ["soon", "-1", "nan", "1e9"])
def test_a_number_of_days_that_is_none_is_named(days: str) -> None:
    with pytest.raises(RetentionError, match="PERDURE_KEEP_THREADS_DAYS"):
        Retention.from_env({"PERDURE_KEEP_THREADS_DAYS": days})


def test_zero_days_keep_for_ever() -> None:
    assert (ttl(0), ttl(1), ttl(1e-9)) == ({}, {"ttl": DAY}, {"ttl": 1})


async def test_a_task_expires_with_all_its_parts(documents: SqliteDocuments, clock: Clock) -> None:
    tasks = TaskStore(documents, ttl(1))
    await tasks.add(TASK)
    await tasks.add_step(StepRef("t", "id", 1), STEP)
    clock.now += DAY - 1
    assert (await tasks.record("t", "id")).steps == (STEP,)
    clock.now += 1
    with pytest.raises(DocumentMissing):
        await tasks.record("t", "id")
    assert await tasks.step(StepRef("t", "id", 1)) is None


async def test_a_thread_lives_on_with_every_turn(documents: SqliteDocuments, clock: Clock) -> None:
    threads = ThreadStore(documents, ttl(1))
    await threads.add(enter(Thread("c", "name", "t", "u", NOW, NOW), "one", NOW))
    clock.now += DAY - 1
    await threads.append("t", "c", "one", [Message("user", "hello")], NOW)
    clock.now += DAY - 1
    thread = await threads.get("t", "c")
    assert thread is not None
    assert [stored.message.content for stored in await threads.messages(thread, 0, 10)] == ["hello"]
    clock.now += 1
    assert await threads.get("t", "c") is None


async def test_a_document_expires_with_its_passages_and_so_does_a_fact(
    documents: SqliteDocuments, clock: Clock
) -> None:
    space = EmbeddingSpace(documents, HashingEmbeddings())
    ingestion, facts = IngestionStore(documents, space, ttl(1)), FactStore(documents, space, ttl(1))
    memories = MemoryStore(documents, space)
    memory = Memory(documents, ingestion, memories, facts)
    await memory.load("t", "u", "guide", "Tea is served at four.")
    await facts.remember("t", "u", "Likes tea.", "task")
    clock.now += DAY - 1
    assert await memories.search("t", "u", "tea", 5)
    assert await facts.recall("t", "u", "tea", 5)
    clock.now += 1
    assert await memories.search("t", "u", "tea", 5) == []
    assert await facts.recall("t", "u", "tea", 5) == []


async def test_a_cached_result_is_reused_for_the_same_arguments_of_the_same_tenant_until_it_expires(
    documents: SqliteDocuments, clock: Clock
) -> None:
    cache = ToolCache(documents)
    await cache.put("t", rate, '{"currency": "eur", "a": 1}', "1.1")
    assert await cache.get("t", rate, '{"a":1,"currency":"eur"}') == "1.1"
    assert await cache.get("t", rate, '{"currency": "usd", "a": 1}') is None
    assert await cache.get("other", rate, '{"a":1,"currency":"eur"}') is None
    clock.now += 60
    assert await cache.get("t", rate, '{"a":1,"currency":"eur"}') is None
