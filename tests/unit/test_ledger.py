"""The effect ledger under attempts that race, crash and come late."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.bootstrap import Services
from perdure.domain.conversation import conversation
from perdure.domain.messages import ToolCall, Usage
from perdure.domain.references import CallRef, StepRef
from perdure.domain.task import Agent, CallState, Limits, Reason, Step, Task
from perdure.loop.tool_call import CallInterrupted, carry_out, prepare
from perdure.tools import tool
from tests.ledger_app import NOW, REF, STEP, act, effects, fail, ledger_app, look, recorded

pytestmark = pytest.mark.anyio


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Services]:
    async with ledger_app(tmp_path) as services:
        yield services


async def test_of_attempts_at_the_same_time_one_runs_a_tool_that_must_not_run_twice(app: Services) -> None:
    await recorded(app, act)
    results = await asyncio.gather(*(carry_out(app, act, REF) for _ in range(8)), return_exceptions=True)
    assert effects == ["it"]
    assert [result for result in results if not isinstance(result, CallInterrupted)] == [CallState.COMMITTED]
    assert await carry_out(app, act, REF) is CallState.COMMITTED
    assert (await app.tasks.call(REF)).entry.content == "did it"


async def test_of_attempts_at_the_same_time_the_first_outcome_of_an_idempotent_tool_stands(app: Services) -> None:
    await recorded(app, look)
    results = await asyncio.gather(*(carry_out(app, look, REF) for _ in range(4)))
    entry = (await app.tasks.call(REF)).entry
    assert set(results) == {CallState.COMMITTED}
    await carry_out(app, look, REF)
    assert (await app.tasks.call(REF)).entry == entry


async def test_an_outcome_is_never_overwritten(app: Services) -> None:
    """An attempt taken for dead comes back after the call was declared unknown."""
    await recorded(app, act)
    late = asyncio.create_task(carry_out(app, act, REF))
    while not effects:  # noqa: ASYNC110 - what tells that the tool is at work is its effect
        await asyncio.sleep(0.001)
    found = await app.tasks.call(REF)
    await app.tasks.put_call(REF, found, dataclasses.replace(found.entry, state=CallState.UNKNOWN))
    assert await late is CallState.UNKNOWN
    assert (await app.tasks.call(REF)).entry.state is CallState.UNKNOWN


async def test_nothing_runs_for_a_task_that_has_ended(app: Services) -> None:
    await recorded(app, act)
    await app.tasks.finish("tenant", "task", Reason.CANCELLED, None, None)
    assert await carry_out(app, act, REF) is CallState.FAILED
    assert effects == []


async def test_an_unavailable_tool_leaves_its_reason_in_the_ledger_and_none_in_durable_history(app: Services) -> None:
    await recorded(app, fail)
    for _ in range(2):
        with pytest.raises(CallInterrupted) as raised:
            await carry_out(app, fail, REF)
        assert "secret" not in str(raised.value)
        assert raised.value.__suppress_context__
    entry = (await app.tasks.call(REF)).entry
    assert (entry.state, entry.content) == (CallState.UNAVAILABLE, "fail is unavailable: secret of it")


def test_calls_over_the_limit_of_one_turn_are_refused() -> None:
    calls = tuple(ToolCall(str(n), "look", json.dumps({"name": n})) for n in range(5))
    agent = Agent("a", "i", "m", ("look",), Limits(5, 60, max_calls=3))
    entries = prepare(StepRef("tenant", "task", 1), Step(1, "", calls, Usage(), "m", NOW, NOW), {"look": look}, agent)
    assert [entry.state for entry in entries] == [CallState.PREPARED] * 3 + [CallState.FAILED] * 2
    assert "at most 3" in (entries[-1].content or "")
    assert len({entry.key for entry in entries}) == 5


@tool(idempotent=True, cache_ttl=60)
def cached(name: str) -> str:
    """Look something up.

    Args:
        name: What.
    """
    effects.append(name)
    return f"found {name}"


async def test_a_cached_result_spares_the_tool(app: Services) -> None:
    await recorded(app, cached)
    await carry_out(app, cached, REF)
    agent = Agent("a", "i", "m", ("cached",), Limits(5, 60))
    await app.tasks.add(Task("other", "tenant", "another user", "q", None, agent, {}, NOW))
    ref = StepRef("tenant", "other", 1)
    step = Step(1, "", (ToolCall("c", "cached", '{ "name":"it" }'),), Usage(), "m", NOW, NOW)
    await app.tasks.add_step(ref, step)
    await app.tasks.add_calls(ref, prepare(ref, step, {"cached": cached}, agent))
    assert await carry_out(app, cached, CallRef("tenant", "other", 1, 0)) is CallState.COMMITTED
    assert effects == ["it"]
    assert (await app.tasks.call(CallRef("tenant", "other", 1, 0))).entry.content == "found it"


# The same call twice.


async def test_a_call_that_repeats_another_of_its_turn_has_its_key_and_its_outcome(app: Services) -> None:
    await recorded(app, act, ('{"name": "it"}', '{"name": "else"}', ' { "name":"it" } '))
    stored = (await app.tasks.record("tenant", "task")).calls
    assert [call.same_as for call in stored] == [None, None, 0]
    assert (stored[2].key, stored[2].state) == (stored[0].key, CallState.PREPARED)
    await carry_out(app, act, REF)
    record = await app.tasks.record("tenant", "task")
    assert [call.state for call in record.calls] == [CallState.COMMITTED, CallState.PREPARED, CallState.COMMITTED]
    results = [message.content for message in conversation(record) if message.role == "tool"]
    assert (results[0], results[2]) == ("did it", "did it")
    assert effects == ["it"]


def test_a_call_that_repeats_one_that_needs_approval_asks_nobody_twice() -> None:
    calls = tuple(ToolCall(str(n), "act", '{"name": "x"}') for n in range(2))
    agent = Agent("a", "i", "m", ("act",), Limits(5, 60), {"act": "always"})
    first, second = prepare(STEP, Step(1, "", calls, Usage(), "m", NOW, NOW), {"act": act}, agent)
    assert (first.state, second.state, second.same_as) == (CallState.AWAITING_APPROVAL, CallState.PREPARED, 0)


def test_equal_calls_of_a_tool_that_wants_each_of_them_are_several_calls() -> None:
    calls = tuple(ToolCall(str(n), "act", '{"name": "x"}') for n in range(2))
    each = dataclasses.replace(act, once_per_turn=False)
    agent = Agent("a", "i", "m", ("act",), Limits(5, 60))
    entries = prepare(STEP, Step(1, "", calls, Usage(), "m", NOW, NOW), {"act": each}, agent)
    assert [entry.same_as for entry in entries] == [None, None]
    assert len({entry.key for entry in entries}) == 2
