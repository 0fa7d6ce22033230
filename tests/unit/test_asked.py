"""Tasks that answer for other agents, under attempts that are made again."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perdure.agents import load_agents
from perdure.allowances import Allowances
from perdure.api.tasks import end, settle
from perdure.bootstrap import Services, build
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.budget import Budget, Price, Spent
from perdure.domain.messages import ToolCall, Usage
from perdure.domain.references import CallRef, CallsRef, Closing, StepRef
from perdure.domain.task import Agent, CallState, LedgerEntry, Limits, Reason, Step, Task, TaskRecord
from perdure.domain.thread import Thread, enter, leave, thread_key
from perdure.loop.approvals import look
from perdure.loop.asked import add_asks, prepare_asks
from perdure.loop.finish import finish
from perdure.loop.settlement import NO_END
from perdure.loop.settlement import settle as settle_calls
from perdure.settings import Settings
from perdure.tools.registry import ToolRegistry

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = "0123456789abcdef0123456789abcdef"
REF = StepRef("tenant", ID, 1)
PRICE = Price(Decimal(1), Decimal(1))
HELPER = Agent("helper", "i", "m", (), Limits(5, 60), price=PRICE)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Services]:
    (tmp_path / "a.yaml").write_text("name: a\ndescription: d\ninstructions: i\n")
    none = ToolRegistry([])
    settings = Settings(allowances=Allowances(user_tasks=1))
    services = build(settings, load_agents(tmp_path, "a", none), none, SqliteDocuments(str(tmp_path / "state.db")))
    yield services
    await services.documents.close()


def boss(**fields: Any) -> Task:
    agent = Agent("a", "i", "m", (), Limits(10, 60), **{"price": PRICE, "agents": (HELPER,)} | fields)
    return Task(ID, "tenant", "user", "q", None, agent, {}, NOW)


def step(*queries: str) -> Step:
    calls = tuple(ToolCall(f"c{n}", "ask_helper", f'{{"query": "{query}"}}') for n, query in enumerate(queries))
    return Step(1, "", calls, Usage(10, 2), "m", NOW, NOW)


def entries(made: Step) -> list[LedgerEntry]:
    return [LedgerEntry(1, n, call.name, call.arguments, f"key {n}") for n, call in enumerate(made.calls)]


async def asking(app: Services, *queries: str, **fields: Any) -> list[Task]:
    """A task whose first step asked these, as the model step records it."""
    task, made = boss(**fields), step(*queries)
    await app.tasks.add(task)
    await app.active.enter(task.tenant, task.user, task.id, datetime.now(UTC))
    await app.tasks.add_step(REF, made)
    calls, tasks = prepare_asks(REF, TaskRecord(task, (made,)), entries(made))
    await app.tasks.add_calls(REF, calls)
    await add_asks(app, tasks)
    return tasks


async def answered(app: Services, asked: Task, text: str = "Yes.") -> None:
    ref = StepRef("tenant", asked.id, 1)
    await app.tasks.add_step(ref, Step(1, text, (), Usage(30, 4), "m", NOW, NOW))
    await finish(app, Closing("tenant", asked.id, 1, Reason.ANSWERED, None))


async def test_a_step_that_is_recorded_again_asks_the_same_task_and_no_other(app: Services) -> None:
    [asked] = await asking(app, "Well?")
    made = step("Well?")
    _, [again] = prepare_asks(REF, TaskRecord(boss(), (made,)), entries(made))
    assert (again.id, again.origin) == (asked.id, asked.origin)
    await answered(app, asked)
    [ask] = await add_asks(app, [again])
    assert ask.task == asked.id
    stored = await app.tasks.get("tenant", asked.id)
    assert stored and stored.reason is Reason.ANSWERED, "what is there stays as it is"


async def test_an_answer_that_is_told_again_counts_once(app: Services) -> None:
    [asked] = await asking(app, "Well?")
    await answered(app, asked)
    await answered(app, asked, "No.")
    record = await app.tasks.record("tenant", ID)
    assert [(call.state, call.content) for call in record.calls] == [(CallState.COMMITTED, "Yes.")]
    assert (record.usage, record.bill.steps, record.spent) == (Usage(40, 6), 2, Spent(46, 46))


@pytest.mark.parametrize(("price", "cost"), [(PRICE, 46e-6), (None, None)])
async def test_a_task_costs_what_those_cost_that_it_asked_if_that_is_known(
    app: Services, price: Price | None, cost: float | None
) -> None:
    [asked] = await asking(app, "Well?", agents=(replace(HELPER, price=price),))
    await answered(app, asked)
    found = (await app.tasks.record("tenant", ID)).cost_usd
    assert found == (cost and pytest.approx(cost))


@pytest.mark.parametrize(
    ("budget", "share"),
    [(Budget(), Budget()), (Budget(312, 3012), Budget(100, 1000)), (Budget(5), Budget(0))],
)
async def test_those_who_are_asked_get_equal_shares_and_one_stays(budget: Budget, share: Budget) -> None:
    made = step("One?", "Two?")
    _, tasks = prepare_asks(REF, TaskRecord(boss(budget=budget), (made,)), entries(made))
    assert [task.agent.budget for task in tasks] == [share] * 2
    assert [task.agent.limits.max_steps for task in tasks] == [4, 4], "of ten, one is taken and one is kept"


async def test_an_agent_whose_orchestration_failed_is_ended_and_its_call_says_so(app: Services) -> None:
    [asked] = await asking(app, "Well?")
    await settle_calls(app, CallsRef("tenant", ID, 1, [0]))
    entry = (await app.tasks.call(CallRef("tenant", ID, 1, 0))).entry
    assert (entry.state, entry.content) == (
        CallState.FAILED,
        f"helper ended without an answer (internal_error). {NO_END}",
    )
    stored = await app.tasks.get("tenant", asked.id)
    assert stored and stored.reason is Reason.INTERNAL_ERROR


async def test_a_task_that_ends_takes_along_those_that_it_asked(app: Services) -> None:
    [one, two] = await asking(app, "One?", "Two?")
    await answered(app, one)
    await finish(app, Closing("tenant", ID, 1, Reason.TIME_LIMIT, "Late."))
    stored = [await app.tasks.get("tenant", asked.id) for asked in (one, two)]
    assert [task and task.reason for task in stored] == [Reason.ANSWERED, Reason.CANCELLED]


async def test_an_asked_task_is_not_counted_as_running_nor_does_its_end_count_its_asker_out(app: Services) -> None:
    """The user may have one task at once."""
    [asked] = await asking(app, "Well?")
    await answered(app, asked)
    await end(app, asked, Reason.CANCELLED, "")
    late = datetime.now(UTC)
    with pytest.raises(Exception, match="1 tasks of the user are running"):
        await app.active.enter("tenant", "user", "another", late)


async def test_an_asked_task_is_not_lost_while_its_asker_may_still_start_it(app: Services) -> None:
    [asked] = await asking(app, "Well?")
    old = replace(asked, created_at=NOW)
    assert (await settle(app, old, None)).reason is None
    await end(app, boss(), Reason.CANCELLED, "Stop.")
    ended = await app.tasks.get("tenant", asked.id)
    assert ended and ended.reason is Reason.CANCELLED


async def test_an_asked_task_renews_the_lease_of_its_askers_conversation_and_ends_when_that_is_lost(
    app: Services,
) -> None:
    [asked] = await asking(app, "Well?")
    key = thread_key("user", "talk")
    long_ago = datetime.now(UTC) - timedelta(days=1)
    await app.threads.add(enter(Thread(key, "talk", "tenant", "user", long_ago, long_ago), ID, long_ago))
    ref = StepRef("tenant", asked.id, 1, key, root=ID)
    assert (await look(app, ref)).ended is None
    thread = await app.threads.get("tenant", key)
    assert thread and thread.writer(datetime.now(UTC)) == ID
    await app.threads.change("tenant", key, lambda thread: leave(thread, ID, datetime.now(UTC)))
    assert (await look(app, ref)).ended == "lease_lost"
