"""What is written down of the use of models: once, whatever is repeated, and whoever dies at whatever moment."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, cast

import pytest

from perdure.agents import load_agents
from perdure.allowances import Allowances
from perdure.bootstrap import Services, build, tools
from perdure.documents.containers import CONTROLS
from perdure.documents.port import Documents
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.budget import Budget, BudgetBusy, BudgetExceeded, Call, Price
from perdure.domain.messages import ModelReply, ToolCall, Usage
from perdure.domain.references import StepRef
from perdure.domain.task import Agent, Limits, Reason, Task
from perdure.domain.tool_use import ToolUse
from perdure.loop.model_step import take_step
from perdure.models.port import ModelError, ModelRejected, ModelUnavailable
from perdure.settings import Settings
from perdure.stores.usage import ToolsUsed, UsageStore, Used
from tests.counting_documents import COUNTED
from tests.scripted_model import ModelStep, ScriptedModel

pytestmark = pytest.mark.anyio

PRICE = Price(Decimal(1), Decimal(2))
AT = datetime(2030, 1, 31, 23, 59, tzinfo=UTC)
CALL = Call("t", "ann", "task", 1, "helper", "m", PRICE, Usage(100, 400), AT)
MUCH = Budget(10**9, 10**9)
DAY = AT.date()


@pytest.fixture
async def documents() -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(":memory:")
    yield documents
    await documents.close()


class Clock:
    now = AT.timestamp()

    def __call__(self) -> float:
        return self.now


def usage(documents: Documents, user_day: Budget = MUCH, tenant_month: Budget = MUCH) -> UsageStore:
    return UsageStore(documents, user_day, tenant_month, 60, Clock())


async def used(store: UsageStore, user: str = "ann", at: date = DAY) -> list[Used]:
    return [one async for one in store.of_user("t", user, at, at) if isinstance(one, Used)]


async def stored(documents: Documents) -> dict[str, Any]:
    return {one.body["type"]: one.body for one in (await documents.page(CONTROLS, ("t", "usage"))).items}


def use(steps: int, input: int, output: int, tasks: int = 1) -> Used:
    return Used(AT.date(), "ann", "helper", "m", steps, input, output, input + 2 * output, 0, tasks)


async def test_a_call_is_reserved_and_then_counted_as_what_it_came_to(documents: SqliteDocuments) -> None:
    store = usage(documents)
    assert await store.reserve(CALL) == 400
    for body in (await stored(documents)).values():
        hold = body["reserved"]["task/1"]
        assert (hold["input_tokens"], hold["output_tokens"], hold["micro_usd"]) == (100, 400, 900)
    await store.commit(CALL, Usage(90, 10))
    assert await used(store) == [use(1, 90, 10)]
    day, month = (await stored(documents))["usage"], (await stored(documents))["tenantUsage"]
    assert (day["reserved"], month["reserved"], month["use"]) == ({}, {}, day["use"])
    assert (day["id"][:11], month["id"]) == ("2030-01-31-", "2030-01")
    # The tenant's document outlives its users: it says of nobody that they used it.
    assert "ann" not in str(month)


async def test_repeating_anything_changes_nothing(documents: SqliteDocuments) -> None:
    store = usage(documents)
    for _ in range(3):
        assert await store.reserve(CALL) == 400
    for _ in range(3):
        await store.commit(CALL, Usage(90, 10))
        await store.release(CALL)
    assert await used(store) == [use(1, 90, 10)]


async def test_what_is_released_is_not_used(documents: SqliteDocuments) -> None:
    store = usage(documents)
    await store.reserve(CALL)
    await store.release(CALL)
    await store.commit(CALL, Usage(90, 10))
    assert await used(store) == []


async def test_a_reservation_that_nobody_resolved_counts_as_used(documents: SqliteDocuments) -> None:
    store, clock = usage(documents), Clock()
    late = UsageStore(documents, MUCH, MUCH, 60, clock)
    await store.reserve(CALL)
    clock.now += 61
    assert await used(late) == [use(1, 100, 400)]
    await late.reserve(replace(CALL, task="other"))
    await late.commit(CALL, Usage(90, 10))
    await late.release(replace(CALL, task="other"))
    assert await used(late) == [use(1, 100, 400)]


async def test_a_call_that_is_made_again_after_its_time_is_one_call(documents: SqliteDocuments) -> None:
    store, clock = usage(documents), Clock()
    late = UsageStore(documents, MUCH, MUCH, 60, clock)
    await store.reserve(CALL)
    clock.now += 61
    await late.reserve(CALL)
    await late.commit(CALL, Usage(90, 10))
    assert await used(late) == [use(1, 90, 10)]


async def test_the_day_that_a_call_began_on_pays_for_it(documents: SqliteDocuments) -> None:
    store, tomorrow = usage(documents), replace(CALL, at=datetime(2030, 2, 1, tzinfo=UTC))
    await store.reserve(CALL)
    await store.commit(tomorrow, Usage(90, 10))
    assert await used(store, at=date(2030, 2, 1)) == []
    await store.commit(CALL, Usage(90, 10))
    assert await used(store) == [use(1, 90, 10)]


async def test_a_budget_that_is_used_up_says_whose_and_when_it_renews(documents: SqliteDocuments) -> None:
    store = usage(documents, user_day=Budget(500), tenant_month=Budget(None, 1000))
    await store.reserve(CALL)
    with pytest.raises(BudgetBusy):
        await store.reserve(replace(CALL, step=2))
    await store.commit(CALL, Usage(100, 400))
    with pytest.raises(BudgetExceeded, match=r"Your budget for 2030-01-31 .*500 of 500.* renews at 2030-02-01T00:00Z"):
        await store.reserve(replace(CALL, step=2))
    bob = replace(CALL, user="bob")
    with pytest.raises(BudgetExceeded, match=r"Your tenant's budget for 2030-01 .*renews at 2030-02-01T00:00Z"):
        await store.reserve(bob)
    # Of the user's own budget, what the tenant's refused is given back.
    assert await used(store, "bob") == []
    assert all(body["reserved"] == {} for body in (await stored(documents)).values())


async def test_an_unknown_price_is_told_from_none(documents: SqliteDocuments) -> None:
    store = usage(documents)
    for step, price in enumerate((PRICE, None)):
        call = replace(CALL, step=step, price=price)
        await store.reserve(call)
        await store.commit(call, Usage(90, 10))
    [both] = await used(store)
    assert (both.steps, both.micro_usd, both.unpriced) == (2, 110, 1)


async def test_use_is_found_by_days_and_by_tenant(documents: SqliteDocuments) -> None:
    store = usage(documents)
    days = [datetime(2029, 12, 31, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC), AT, datetime(2030, 2, 1, tzinfo=UTC)]
    for user in ("ann", "bob"):
        for step, at in enumerate(days):
            call = replace(CALL, user=user, step=step, at=at)
            await store.reserve(call)
            await store.commit(call, Usage(1, 1))
    found = [(one.day, one.user) async for one in store.of_tenant("t", date(2029, 12, 31), date(2030, 1, 31))]
    assert sorted(found) == [(at.date(), user) for at in days[:3] for user in ("ann", "bob")]
    assert [one async for one in store.of_tenant("other", date(2029, 12, 31), date(2030, 1, 31))] == []
    own = [one.day async for one in store.of_user("t", "bob", date(2030, 1, 1), date(2030, 2, 28))]
    assert own == [at.date() for at in days[1:]]


# --- a model step whose worker dies ---

AGENT = Agent("helper", "Help.", "m", ("calculate",), Limits(5, 60), price=PRICE)
TASK = Task("task", "t", "ann", "What is 1+1?", None, AGENT, {}, datetime.now(UTC))
REF = StepRef("t", "task", 1)
REPLY = ModelReply("Two.", (ToolCall("c", "calculate", '{"expression": "1+1"}'),), Usage(90, 10), "m")


class Dying:
    """Passes operations on until one of them, at or after which the worker dies."""

    def __init__(self, store: Documents, at: int, when: Literal["before", "after"]) -> None:
        self._store, self.left, self._when = store, at, when
        self.died = False

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._store, name)
        if name not in COUNTED:
            return operation

        async def mortal(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.died or (self.left == 0 and self._when == "before"):
                self.died = True
                raise OSError("the worker died")
            result = await operation(*args, **kwargs)
            if self.left == 0:
                self.died = True
                raise OSError("the worker died")
            return result

        return mortal


def worker(documents: object, *replies: ModelReply | Exception) -> Services:
    """A worker of its own: it remembers nothing of another."""
    settings = Settings(allowances=Allowances(user_day=MUCH, tenant_month=MUCH), stream_text=False)
    agents = load_agents(settings.agents_dir, settings.default_agent, tools())
    app = build(settings, agents, tools(), cast("Documents", documents))
    return replace(app, model=ScriptedModel([ModelStep("", reply) for reply in replies]))


async def counted(documents: Documents) -> list[dict[str, Any]]:
    """What both documents say was used, when nothing is reserved any more."""
    found = await stored(documents)
    assert [body["reserved"] for body in found.values()] == [{}] * len(found)
    return [model for body in found.values() for by in body["use"].values() for model in by.values()]


OPERATIONS = 10
"""Operations of a step on the store."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(1, OPERATIONS + 1))
async def test_whenever_a_worker_dies_the_next_counts_the_step_once(
    documents: SqliteDocuments, at: int, when: Literal["before", "after"]
) -> None:
    await worker(documents).tasks.add(TASK)
    dying = Dying(documents, at, when)
    with pytest.raises(OSError, match="died"):
        await take_step(worker(dying, REPLY), REF)
    for _ in range(2):
        assert (await take_step(worker(documents, REPLY), REF)).kind == "calls"
    assert (
        await counted(documents)
        == [{"steps": 1, "input_tokens": 90, "output_tokens": 10, "micro_usd": 110, "unpriced": 0, "tasks": 1}] * 2
    )


async def test_the_tools_before_a_call_are_counted_with_it_once_and_for_the_user_alone(
    documents: SqliteDocuments,
) -> None:
    store, later = usage(documents), replace(CALL, step=2)
    tools = [ToolUse("search", calls=2, failed=1, milliseconds=1500, micro_usd=10_000)]
    await store.reserve(later)
    for _ in range(3):
        await store.commit(later, Usage(90, 10), tools)
    await store.add_tools("t", "ann", "helper", AT, [ToolUse("search", calls=1), ToolUse("calculate", calls=1)])
    found = [one async for one in store.of_user("t", "ann", DAY, DAY) if isinstance(one, ToolsUsed)]
    assert [one.use for one in found] == [
        ToolUse("search", calls=3, failed=1, milliseconds=1500, micro_usd=10_000),
        ToolUse("calculate", calls=1),
    ]
    assert {(one.day, one.user, one.agent) for one in found} == {(DAY, "ann", "helper")}
    assert "search" not in str((await stored(documents))["tenantUsage"])


async def test_a_day_is_told_of_once(documents: SqliteDocuments) -> None:
    """By two workers at the same moment, too."""
    stores = [usage(documents), usage(documents)]
    told = await asyncio.gather(*(store.note_alert("t", "ann", DAY) for store in stores * 3))
    assert sum(told) == 1
    assert await stores[0].note_alert("t", "ann", DAY + timedelta(days=1))


async def test_the_last_crash_tried_is_after_the_last_operation(documents: SqliteDocuments) -> None:
    await worker(documents).tasks.add(TASK)
    dying = Dying(documents, 100, "before")
    await take_step(worker(dying, REPLY), REF)
    assert 100 - dying.left == OPERATIONS


async def test_a_worker_that_dies_while_the_model_writes_leaves_its_reservation_to_the_next(
    documents: SqliteDocuments,
) -> None:
    await worker(documents).tasks.add(TASK)
    with pytest.raises(OSError, match="died"):
        await take_step(worker(documents, OSError("the worker died")), REF)
    assert all("task/1" in body["reserved"] for body in (await stored(documents)).values())
    await take_step(worker(documents, REPLY), REF)
    assert [use["steps"] for use in await counted(documents)] == [1, 1]


async def test_a_step_that_was_recorded_is_paid_though_its_task_has_ended(documents: SqliteDocuments) -> None:
    await worker(documents).tasks.add(TASK)
    # The seventh operation records the step; the worker dies before it pays.
    with pytest.raises(OSError, match="died"):
        await take_step(worker(Dying(documents, 7, "after"), REPLY), REF)
    app = worker(documents)
    assert len((await app.tasks.record("t", "task")).steps) == 1
    await app.tasks.finish("t", "task", Reason.CANCELLED, None, None)
    assert (await take_step(app, REF)).kind == "ended"
    assert [use["steps"] for use in await counted(documents)] == [1, 1]


@pytest.mark.parametrize("failure", [ModelUnavailable("down"), ModelRejected("no")])
async def test_a_call_that_failed_costs_nothing(documents: SqliteDocuments, failure: ModelError) -> None:
    app = worker(documents, failure)
    await app.tasks.add(TASK)
    await take_step(app, REF)
    assert await counted(documents) == []


async def test_a_reply_that_is_not_taken_is_paid_all_the_same(documents: SqliteDocuments) -> None:
    app = worker(documents, replace(REPLY, text="x" * 2_000_000))
    await app.tasks.add(TASK)
    assert (await take_step(app, REF)).kind == "rejected"
    assert [use["micro_usd"] for use in await counted(documents)] == [110, 110]


async def test_what_a_provider_does_not_count_is_estimated(documents: SqliteDocuments) -> None:
    app = worker(documents, replace(REPLY, usage=Usage()))
    await app.tasks.add(TASK)
    await take_step(app, REF)
    [step] = (await app.tasks.record("t", "task")).steps
    assert step.usage.input_tokens > 50
    assert step.usage.output_tokens in range(5, 30)


async def test_a_task_uses_no_more_than_its_own_budget(documents: SqliteDocuments) -> None:
    # The messages of the first step are about 90 tokens by estimate, and some more each step.
    app = worker(documents, REPLY, REPLY, REPLY)
    await app.tasks.add(replace(TASK, agent=replace(AGENT, budget=Budget(600))))
    asked = cast("ScriptedModel", app.model).requests
    outcomes = [await take_step(app, replace(REF, step=step)) for step in (1, 2, 3, 4)]
    kinds = [outcome.kind for outcome in outcomes]
    assert kinds[0] == "calls"
    assert kinds[-1] == "budget_exceeded"
    refused = next(outcome for outcome in outcomes if outcome.kind == "budget_exceeded")
    assert refused.detail
    assert refused.detail.startswith("The task's budget is used up: ")
    # Each reply was bounded by what was left.
    for number, request in enumerate(asked):
        assert request.max_output_tokens is not None
        assert 100 * number + request.input_tokens + request.max_output_tokens <= 600


async def test_a_task_waits_while_others_have_the_budget_reserved(documents: SqliteDocuments) -> None:
    settings = Settings(allowances=Allowances(user_day=Budget(6000)))
    agents = load_agents(settings.agents_dir, settings.default_agent, tools())
    app = replace(build(settings, agents, tools(), documents), model=ScriptedModel([ModelStep("", REPLY)]))
    await app.tasks.add(TASK)
    other = replace(CALL, task="other", at=datetime.now(UTC), usage=Usage(3000, 1000))
    await app.usage.reserve(other)
    waits = await take_step(app, REF)
    assert waits.kind == "limited"
    assert waits.retry_after is not None
    assert 2 <= waits.retry_after <= 12
    await app.usage.commit(other, Usage(100, 10))
    assert (await take_step(app, REF)).kind == "calls"
