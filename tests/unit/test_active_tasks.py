"""How many tasks run at once: what an entry costs, and what becomes of one that was left behind."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from perdure.allowances import AllowanceError, Allowances
from perdure.documents.port import Documents, Stored, StoreUnavailable
from perdure.documents.sqlite import SqliteDocuments
from perdure.stores.active import MARGIN_SECONDS, ActiveTasks, TooManyTasks
from tests.counting_documents import CountingDocuments

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
SOON = NOW + timedelta(days=1)


@pytest.fixture
async def counting() -> AsyncIterator[CountingDocuments]:
    documents = SqliteDocuments(":memory:")
    yield CountingDocuments(documents)
    await documents.close()


@pytest.fixture
def documents(counting: CountingDocuments) -> Documents:
    return cast("Documents", counting)


async def test_one_instance_asks_the_store_once_for_an_entry_and_once_for_its_end(
    counting: CountingDocuments, documents: Documents
) -> None:
    active = ActiveTasks(documents, Allowances())
    await active.enter("t", "ann", "first", SOON)
    counting.reset()
    for number in range(5):
        await active.enter("t", "ann", f"task-{number}", SOON)
        await active.leave("t", "ann", f"task-{number}")
    assert counting.requests == {"replace": 10}


async def test_entries_that_wait_at_the_same_time_are_written_together(
    counting: CountingDocuments, documents: Documents
) -> None:
    active = ActiveTasks(documents, Allowances())
    await asyncio.gather(*(active.enter("t", "ann", f"task-{number}", SOON) for number in range(64)))
    assert counting.requests.total() <= 4


async def test_a_task_counts_once_however_often_it_enters(documents: Documents) -> None:
    active = ActiveTasks(documents, Allowances(user_tasks=2))
    for task in ("a", "a", "b", "a"):
        await active.enter("t", "ann", task, SOON)
    with pytest.raises(TooManyTasks) as full:
        await active.enter("t", "ann", "c", SOON)
    assert (full.value.whose, full.value.limit) == ("user", 2)
    await active.enter("t", "bob", "c", SOON)
    await active.enter("other", "ann", "c", SOON)


async def test_a_refusal_is_decided_on_what_the_store_says_now(documents: Documents) -> None:
    one, other = (ActiveTasks(documents, Allowances(user_tasks=1)) for _ in range(2))
    await one.enter("t", "ann", "a", SOON)
    await other.leave("t", "ann", "a")
    await one.enter("t", "ann", "b", SOON)
    # And what one instance never heard of can be left there.
    await other.leave("t", "ann", "b")
    await one.enter("t", "ann", "c", SOON)


async def test_a_task_left_behind_counts_until_its_time_is_over(documents: Documents) -> None:
    now = NOW.timestamp()
    active = ActiveTasks(documents, Allowances(user_tasks=1), lambda: now)
    await active.enter("t", "ann", "a", SOON)
    now = SOON.timestamp() + MARGIN_SECONDS - 1
    with pytest.raises(TooManyTasks):
        await active.enter("t", "ann", "b", SOON)
    now += 2
    await active.enter("t", "ann", "b", SOON)


async def test_without_limits_nothing_is_counted_and_without_the_tenants_each_user_alone(
    counting: CountingDocuments, documents: Documents
) -> None:
    await ActiveTasks(documents, Allowances(0, 0)).enter("t", "ann", "a", SOON)
    assert counting.requests.total() == 0
    active = ActiveTasks(documents, Allowances(user_tasks=1, tenant_tasks=0))
    await active.enter("t", "ann", "a", SOON)
    await active.enter("t", "bob", "b", SOON)
    with pytest.raises(TooManyTasks):
        await active.enter("t", "bob", "c", SOON)


async def test_a_store_that_is_away_fails_all_who_wait_and_is_asked_anew_by_the_next(
    documents: Documents, counting: CountingDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = ActiveTasks(documents, Allowances())
    await active.enter("t", "ann", "first", SOON)

    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as outage:
        outage.setattr(counting.store, "replace", away)
        failed = await asyncio.gather(
            *(active.enter("t", "ann", str(n), SOON) for n in range(8)), return_exceptions=True
        )
        assert {type(error) for error in failed} == {StoreUnavailable}
    await active.enter("t", "ann", "second", SOON)


async def test_a_task_that_lasts_longer_than_was_thought_counts_for_longer(documents: Documents) -> None:
    now = NOW.timestamp()
    active = ActiveTasks(documents, Allowances(user_tasks=1), clock=lambda: now)
    await active.enter("t", "ann", "first", NOW + timedelta(hours=1))
    await active.enter("t", "ann", "first", NOW + timedelta(hours=5))
    await active.enter("t", "ann", "first", NOW + timedelta(hours=2))
    now += 4 * 3600
    with pytest.raises(TooManyTasks):
        await active.enter("t", "ann", "second", SOON)
    now += 2 * 3600
    await active.enter("t", "ann", "second", SOON)


async def test_who_is_cancelled_while_writing_for_others_leaves_them_to_the_next(
    documents: Documents, counting: CountingDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = ActiveTasks(documents, Allowances())
    await active.enter("t", "ann", "first", SOON)
    writing, hold = asyncio.Event(), asyncio.Event()
    replace = counting.store.replace

    async def slowly(*args: Any) -> Stored:
        writing.set()
        await hold.wait()
        return await replace(*args)

    monkeypatch.setattr(counting.store, "replace", slowly)
    leader, *others = [asyncio.create_task(active.enter("t", "ann", str(n), SOON)) for n in range(4)]
    await writing.wait()
    leader.cancel()
    hold.set()
    assert await asyncio.gather(*others) == [None] * 3
    assert leader.cancelled()


@pytest.mark.parametrize("text", ["-1", "many", "1.5", "10001"])
def test_a_limit_that_is_none_is_named(text: str) -> None:
    with pytest.raises(AllowanceError, match="PERDURE_LIMIT_USER_TASKS"):
        Allowances.from_env({"PERDURE_LIMIT_USER_TASKS": text})
