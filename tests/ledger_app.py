"""An app over a store of its own whose task asked for a tool, and tools that leave a trace each time they run."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from perdure.agents import load_agents
from perdure.bootstrap import Services, build
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.messages import ToolCall, Usage
from perdure.domain.references import CallRef, StepRef
from perdure.domain.task import Agent, CallState, LedgerEntry, Limits, Step, Task
from perdure.loop.tool_call import prepare
from perdure.settings import Settings
from perdure.tools import Tool, ToolUnavailable, tool
from perdure.tools.registry import ToolRegistry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REF = CallRef("tenant", "task", 1, 0)
STEP = StepRef("tenant", "task", 1)
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


@asynccontextmanager
async def ledger_app(folder: Path) -> AsyncIterator[Services]:
    """The app, with its state in a folder."""
    effects.clear()
    (folder / "a.yaml").write_text("name: a\ndescription: d\ninstructions: i\n")
    services = build(Settings(), load_agents(folder, "a", TOOLS), TOOLS, SqliteDocuments(str(folder / "state.db")))
    try:
        yield services
    finally:
        await services.documents.close()


async def recorded(app: Services, called: Tool, arguments: tuple[str, ...] = ('{"name": "it"}',)) -> None:
    """A task whose first step asked for one call, or for one with each of these arguments."""
    agent = Agent("a", "i", "m", (called.name,), Limits(5, 60))
    await app.tasks.add(Task("task", "tenant", "user", "q", None, agent, {}, NOW))
    calls = tuple(ToolCall(f"c{n}", called.name, text) for n, text in enumerate(arguments))
    step = Step(1, "", calls, Usage(), "m", NOW, NOW)
    await app.tasks.add_step(StepRef("tenant", "task", 1), step)
    await app.tasks.add_calls(
        StepRef("tenant", "task", 1), prepare(StepRef("tenant", "task", 1), step, {called.name: called}, agent)
    )


async def dispatched(app: Services, seconds_ago: float) -> None:
    """An attempt at the call died so long ago."""
    found = await app.tasks.call(REF)
    started = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    await app.tasks.put_call(
        REF, found, dataclasses.replace(found.entry, state=CallState.DISPATCHED, started_at=started)
    )


async def entry_of(app: Services) -> LedgerEntry:
    return (await app.tasks.call(REF)).entry
