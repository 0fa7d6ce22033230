"""What one step of a task costs in requests to the store and in bytes moved, on both adapters.

The step asks for two tools; its calls are carried out and counted too. Nothing is timed: counts do not depend on the
machine.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

from bench.system import BenchError
from perdure.agents import load_agents
from perdure.bootstrap import Services, build, tools
from perdure.documents.cosmos import CosmosDocuments
from perdure.documents.cosmos_account import CosmosSettings
from perdure.documents.port import Documents
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.messages import ModelReply, ToolCall, Usage
from perdure.domain.references import CallRef, StepRef
from perdure.domain.task import Agent, Limits, Task
from perdure.loop.model_step import take_step
from perdure.loop.tool_call import carry_out
from perdure.settings import Settings
from tests.cosmos.endpoint import CosmosEndpoint
from tests.counting_documents import CountingDocuments
from tests.scripted_model import ModelStep, ScriptedModel

STEPS = (1, 10, 100)


def store_costs() -> str:
    """Measure, and return a Markdown table."""
    return asyncio.run(_table())


async def _table() -> str:
    lines = [
        "| step | store | requests of the step | bytes | requests of one tool call | bytes |",
        "| --: | --- | --- | --: | --- | --: |",
    ]
    for name in ("SQLite", "Cosmos DB"):
        async with _store(name) as documents:
            lines += await _measure(name, documents)
    return "\n".join(lines)


async def _measure(name: str, documents: Documents) -> list[str]:
    counting = CountingDocuments(documents)
    app = _app(cast("Documents", counting))
    await app.tasks.add(Task("task", "t", "u", "q", None, _agent(), {}, datetime.now(UTC)))
    rows: list[str] = []
    for number in range(1, max(STEPS) + 1):
        counting.reset()
        outcome = await take_step(app, StepRef("t", "task", number))
        step = f"{_shown(counting)} | {counting.bytes:,}"
        for index, tool_name in outcome.calls:
            counting.reset()
            tool = app.tools.get(tool_name)
            if tool is None:
                raise BenchError(f"there is no tool {tool_name}")
            await carry_out(app, tool, CallRef("t", "task", number, index))
        if number in STEPS:
            rows.append(f"| {number} | {name} | {step} | {_shown(counting)} | {counting.bytes:,} |")
    return rows


def _shown(counting: CountingDocuments) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counting.requests.items()))


def _reply(step: int) -> ModelReply:
    """Two calls that no other step makes: the same ones again and again would not be run."""
    calls = tuple(ToolCall(f"c{n}", "calculate", f'{{"expression": "{step + 100} * {n}"}}') for n in range(2))
    return ModelReply("I calculate.", calls, Usage(100, 20), "scripted")


def _app(documents: Documents) -> Services:
    settings = Settings()
    app = build(settings, load_agents(settings.agents_dir, settings.default_agent, tools()), tools(), documents)
    return dataclasses.replace(
        app, model=ScriptedModel([ModelStep("", _reply(step + 1)) for step in range(max(STEPS))])
    )


def _agent() -> Agent:
    return Agent("a", "Be exact.", "scripted", ("calculate",), Limits(1000, 600))


@asynccontextmanager
async def _store(name: str) -> AsyncIterator[Documents]:
    if name == "SQLite":
        documents: Documents = SqliteDocuments(":memory:")
        yield documents
        await documents.close()
        return
    with CosmosEndpoint() as endpoint:
        documents = CosmosDocuments(CosmosSettings(endpoint.url, key=endpoint.key, dimensions=512, create=True))
        yield documents
        await documents.close()
