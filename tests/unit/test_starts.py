"""Starts with an Idempotency-Key, and what becomes of one that was cut short."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from perdure.documents.containers import CONTROLS
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.principal import Principal
from perdure.stores.starts import TAKEOVER, AnotherRequest, Claim, Started, StartStore, UnderWay

pytestmark = pytest.mark.anyio
ANN = Principal("t", "ann", frozenset())


@pytest.fixture
async def documents() -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(":memory:")
    yield documents
    await documents.close()


async def claim(starts: StartStore, task: str) -> Claim:
    found = await starts.claim(ANN, "key", "asked", task)
    assert isinstance(found, Claim)
    return found


async def test_a_start_is_made_by_one_and_found_by_all(documents: SqliteDocuments) -> None:
    starts = StartStore(documents)
    first = await claim(starts, "one")
    assert await starts.claim(ANN, "key", "asked", "two") == UnderWay()
    assert await starts.claim(ANN, "key", "other", "two") == AnotherRequest()
    await starts.done(first)
    assert await starts.claim(ANN, "key", "asked", "two") == Started("one")
    assert isinstance(await starts.claim(replace(ANN, user="bob"), "key", "other", "three"), Claim)


async def test_a_start_that_was_given_up_is_made_anew(documents: SqliteDocuments) -> None:
    starts = StartStore(documents)
    await starts.give_up(await claim(starts, "one"))
    assert (await claim(starts, "two")).task == "two"


async def test_a_start_whose_maker_is_gone_is_taken_over_with_its_task(documents: SqliteDocuments) -> None:
    starts = StartStore(documents)
    dead = await claim(starts, "one")
    past = (datetime.now(UTC) - TAKEOVER).isoformat()
    await documents.upsert(CONTROLS, dead.partition, {**dead.stored.body, "begun_at": past})
    taken = await claim(starts, "two")
    assert taken.task == "one"
    assert await starts.claim(ANN, "key", "asked", "three") == UnderWay()
    await starts.done(dead)  # It was not gone after all; who took over has the say.
    assert await starts.claim(ANN, "key", "asked", "three") == UnderWay()
    await starts.done(taken)
    assert await starts.claim(ANN, "key", "asked", "three") == Started("one")
