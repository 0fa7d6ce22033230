"""Calls without an outcome: a person is asked, they are given up, or their tool is down."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from perdure.bootstrap import Services
from perdure.domain.approval import Approval, ApprovalState, Kind
from perdure.domain.breaker import FAILURES, PROBE_SECONDS
from perdure.domain.messages import ToolCall, Usage
from perdure.domain.next_step import Look, Settled
from perdure.domain.references import CallRef, CallsRef, StepRef
from perdure.domain.task import Agent, CallState, Limits, Reason, Step, Task
from perdure.loop.approvals import look as look_at_approvals
from perdure.loop.settlement import settle
from perdure.loop.tool_call import CallInterrupted, carry_out, prepare
from perdure.stores.breakers import Breakers
from perdure.tools import Tool, ToolError, tool
from tests.ledger_app import NOW, REF, STEP, act, dispatched, effects, entry_of, fail, ledger_app, look, recorded

pytestmark = pytest.mark.anyio


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Services]:
    async with ledger_app(tmp_path) as services:
        yield services


async def questions(app: Services) -> list[Approval]:
    return [found.approval for found in await app.approvals.of_step(STEP)]


async def answer(app: Services, state: ApprovalState, result: str | None = None) -> None:
    """Decide on the last question about the call."""
    found = await app.approvals.get(STEP, 1, 0, (await entry_of(app)).doubts)
    assert found
    await app.approvals.put(STEP, found, found.approval.decided(state, "somebody", "", datetime.now(UTC), result))


async def test_a_call_whose_attempt_died_is_unknown_once_it_cannot_be_at_work_any_more(app: Services) -> None:
    await recorded(app, act)
    await dispatched(app, 0)
    with pytest.raises(CallInterrupted):
        await carry_out(app, act, REF)
    assert await questions(app) == []
    await dispatched(app, 60)
    assert await carry_out(app, act, REF) is CallState.UNKNOWN
    assert effects == []
    [question] = await questions(app)
    assert (question.kind, question.state, question.id) == (Kind.UNKNOWN_OUTCOME, ApprovalState.PENDING, "1-0-1")
    assert await carry_out(app, act, REF) is CallState.UNKNOWN
    assert await questions(app) == [question]


async def test_of_a_task_that_has_ended_nobody_is_asked(app: Services) -> None:
    await recorded(app, act)
    await dispatched(app, 60)
    await app.tasks.finish("tenant", "task", Reason.CANCELLED, None, None)
    assert await carry_out(app, act, REF) is CallState.UNKNOWN
    assert await questions(app) == []


@pytest.mark.parametrize(
    ("decision", "state", "content"),
    [
        (ApprovalState.COMMITTED, CallState.COMMITTED, "as they say"),
        (ApprovalState.FAILED, CallState.FAILED, "did not take effect"),
        (ApprovalState.EXPIRED, CallState.UNKNOWN, "may or may not"),
    ],
)
async def test_a_call_becomes_what_a_person_says_and_stays_it(
    app: Services, decision: ApprovalState, state: CallState, content: str
) -> None:
    await recorded(app, act)
    await dispatched(app, 60)
    await carry_out(app, act, REF)
    waiting = await look_at_approvals(app, STEP)
    assert (waiting.calls, waiting.expires is not None) == ((), True)
    await answer(app, decision, "as they say" if decision is ApprovalState.COMMITTED else None)
    for _ in range(2):
        assert await look_at_approvals(app, STEP) == Look()
        entry = await entry_of(app)
        assert (entry.state, content in (entry.content or "")) == (state, True)
        assert await carry_out(app, act, REF) is state
    assert effects == []


async def test_a_call_that_is_to_be_run_again_runs_once_however_often_the_decision_is_looked_at(app: Services) -> None:
    await recorded(app, act)
    key = (await entry_of(app)).key
    await dispatched(app, 60)
    await carry_out(app, act, REF)
    await answer(app, ApprovalState.RETRY)
    for _ in range(2):
        assert await look_at_approvals(app, STEP) == Look(((0, "act"),), timeout=1)
    results = await asyncio.gather(*(carry_out(app, act, REF) for _ in range(4)), return_exceptions=True)
    assert [result for result in results if not isinstance(result, CallInterrupted)] == [CallState.COMMITTED]
    assert await look_at_approvals(app, STEP) == Look()
    assert effects == ["it"]
    assert (await entry_of(app)).key == key


async def test_a_decision_on_an_earlier_doubt_says_nothing_of_a_later_one(app: Services) -> None:
    await recorded(app, act)
    await dispatched(app, 60)
    await carry_out(app, act, REF)
    await answer(app, ApprovalState.RETRY)
    await look_at_approvals(app, STEP)
    await dispatched(app, 60)
    await carry_out(app, act, REF)
    waiting = await look_at_approvals(app, STEP)
    assert (waiting.calls, waiting.expires is not None) == ((), True)
    assert (await entry_of(app)).state is CallState.UNKNOWN
    assert [question.number for question in await questions(app)] == [1, 2]


# Calls that were given up.


async def settled(app: Services) -> Settled:
    return await settle(app, CallsRef("tenant", "task", 1, [0]))


async def test_a_dispatched_call_that_is_given_up_is_waited_for_and_then_asked_about(app: Services) -> None:
    await recorded(app, act)
    await dispatched(app, 2)
    outcome = await settled(app)
    assert not outcome.awaiting
    assert outcome.again is not None
    assert 8 < outcome.again <= 9, "its second, and ten to write down its outcome"
    await dispatched(app, 60)
    assert await settled(app) == Settled(awaiting=True)
    assert len(await questions(app)) == 1
    assert await settled(app) == Settled(awaiting=True)
    assert len(await questions(app)) == 1


@pytest.mark.parametrize(("called", "told"), [(act, "could not be started in time"), (look, "did not end in time")])
async def test_a_call_of_which_nothing_was_heard_failed_and_does_not_run_any_more(
    app: Services, called: Tool, told: str
) -> None:
    await recorded(app, called)
    assert await settled(app) == Settled()
    entry = await entry_of(app)
    assert (entry.state, told in (entry.content or "")) == (CallState.FAILED, True)
    assert await carry_out(app, called, REF) is CallState.FAILED
    assert effects == []


async def test_an_idempotent_tool_that_ends_after_it_was_given_up_changes_nothing(app: Services) -> None:
    await recorded(app, look)
    late = asyncio.create_task(carry_out(app, look, REF))
    while not effects:  # noqa: ASYNC110 - what tells that the tool is at work is its effect
        await asyncio.sleep(0.001)
    await settled(app)
    assert await late is CallState.FAILED
    assert "did not end in time" in ((await entry_of(app)).content or "")


async def test_an_unavailable_tool_that_is_given_up_keeps_its_reason(app: Services) -> None:
    await recorded(app, fail)
    with pytest.raises(CallInterrupted):
        await carry_out(app, fail, REF)
    await settled(app)
    entry = await entry_of(app)
    assert (entry.state, entry.content) == (CallState.FAILED, "fail is unavailable: secret of it")


async def test_an_outcome_that_came_after_all_is_left_as_it_is(app: Services) -> None:
    await recorded(app, act)
    await carry_out(app, act, REF)
    assert await settled(app) == Settled()
    assert (await entry_of(app)).content == "did it"


# A tool that is down.


@tool(timeout=0.05)
async def crawl(name: str) -> str:
    """Be too slow.

    Args:
        name: For whom.
    """
    effects.append(name)
    await asyncio.sleep(1 if name == "slow" else 0)
    return "crawled"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def recorded_for(app: Services, task: str, called: Tool, name: str, tenant: str = "tenant") -> CallRef:
    """Another task that asked for one call."""
    agent = Agent("a", "i", "m", (called.name,), Limits(5, 60))
    await app.tasks.add(Task(task, tenant, "user", "q", None, agent, {}, NOW))
    ref, call = StepRef(tenant, task, 1), ToolCall("c", called.name, json.dumps({"name": name}))
    step = Step(1, "", (call,), Usage(), "m", NOW, NOW)
    await app.tasks.add_calls(ref, prepare(ref, step, {called.name: called}, agent))
    return CallRef(tenant, task, 1, 0)


@pytest.mark.parametrize("failing", ["unavailable", "slow"])
async def test_a_tool_that_is_down_is_not_run_and_the_model_is_told_until_a_probe_gets_through(
    app: Services, failing: str
) -> None:
    """As two instances see it that share the store."""
    clock = Clock()
    one, other = (dataclasses.replace(app, breakers=Breakers(app.documents, clock=clock)) for _ in range(2))
    called = fail if failing == "unavailable" else crawl
    for number in range(FAILURES):
        ref = await recorded_for(app, f"{number}", called, "slow")
        if called is fail:
            with pytest.raises(CallInterrupted):
                await carry_out(one, called, ref)
        else:
            assert await carry_out(one, called, ref) is CallState.UNKNOWN
    for number, instance in enumerate((one, other)):
        ref = await recorded_for(app, f"refused-{number}", called, "slow")
        assert await carry_out(instance, called, ref) is CallState.FAILED
        entry = (await app.tasks.call(ref)).entry
        assert "is unavailable for now, so this call was not run" in (entry.content or "")
    elsewhere = await recorded_for(app, "elsewhere", crawl, "quick", tenant="another")
    assert await carry_out(other, crawl, elsewhere) is CallState.COMMITTED, "another tenant has done it no harm"
    clock.now += PROBE_SECONDS + 1
    well = dataclasses.replace(crawl, name=called.name)
    for number, instance in enumerate((other, one)):
        ref = await recorded_for(app, f"well-{number}", well, "quick")
        assert await carry_out(instance, well, ref) is CallState.COMMITTED


@tool
def refuse(name: str) -> str:
    """Refuse.

    Args:
        name: Whom.
    """
    raise ToolError(f"not for {name}") if name == "you" else RuntimeError("a mistake")


async def test_a_tool_that_refuses_or_has_a_mistake_is_not_down(app: Services) -> None:
    for number in range(2 * FAILURES):
        ref = await recorded_for(app, f"{number}", refuse, "you" if number % 2 else "me")
        assert await carry_out(app, refuse, ref) is CallState.FAILED
    assert [breaker async for breaker in app.breakers.all("tenant")] == []
