"""The effect ledger under attempts that race, crash and come late."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perdure.agents import load_agents
from perdure.bootstrap import Services, build
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.messages import ToolCall, Usage
from perdure.domain.references import CallRef, StepRef
from perdure.domain.task import Agent, CallState, Limits, Reason, Step, Task
from perdure.loop.tool_call import CallInterrupted, carry_out, prepare
from perdure.settings import Settings
from perdure.tools import Tool, ToolUnavailable, tool
from perdure.tools.registry import ToolRegistry

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REF = CallRef("tenant", "task", 1, 0)
effects: list[str] = []


@tool(timeout=1)
async def act(name: str) -> str:
    """Do something once.

    Args:
        name: Of what.
    """
    effects.append(name)
    await asyncio.sleep(0.05)
    return f"did {name}"


@tool(idempotent=True, timeout=1)
async def look(name: str) -> str:
    """Look at something.

    Args:
        name: At what.
    """
    effects.append(name)
    await asyncio.sleep(0.05)
    return f"saw {name} {len(effects)}"


@tool(idempotent=True)
def fail(name: str) -> str:
    """Be unavailable.

    Args:
        name: To whom.
    """
    raise ToolUnavailable(f"secret of {name}")


TOOLS = ToolRegistry([act, look, fail])


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Services]:
    effects.clear()
    (tmp_path / "a.yaml").write_text("name: a\ndescription: d\ninstructions: i\n")
    services = build(Settings(), load_agents(tmp_path, "a", TOOLS), TOOLS, SqliteDocuments(str(tmp_path / "state.db")))
    yield services
    await services.documents.close()


async def recorded(app: Services, called: Tool) -> None:
    """A task whose first step asked for one call."""
    agent = Agent("a", "i", "m", (called.name,), Limits(5, 60))
    await app.tasks.add(Task("task", "tenant", "user", "q", None, agent, {}, NOW))
    step = Step(1, "", (ToolCall("c", called.name, '{"name": "it"}'),), Usage(), "m", NOW, NOW)
    await app.tasks.add_step(StepRef("tenant", "task", 1), step)
    await app.tasks.add_calls(
        StepRef("tenant", "task", 1), prepare(StepRef("tenant", "task", 1), step, {called.name: called}, agent)
    )


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


async def test_a_call_whose_attempt_died_is_unknown_once_it_cannot_be_at_work_any_more(app: Services) -> None:
    await recorded(app, act)
    found = await app.tasks.call(REF)
    entry = dataclasses.replace(found.entry, state=CallState.DISPATCHED, started_at=datetime.now(UTC))
    found = await app.tasks.put_call(REF, found, entry)
    with pytest.raises(CallInterrupted):
        await carry_out(app, act, REF)
    long_ago = dataclasses.replace(entry, started_at=datetime.now(UTC) - timedelta(seconds=60))
    await app.tasks.put_call(REF, found, long_ago)
    assert await carry_out(app, act, REF) is CallState.UNKNOWN
    assert effects == []


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
