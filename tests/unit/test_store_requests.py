"""What a task costs in requests to the store: the same for its hundredth step as for its first."""

import dataclasses
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from perdure.agents import load_agents
from perdure.bootstrap import Services, build
from perdure.documents.port import Documents
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.messages import ModelReply, ToolCall, Usage
from perdure.domain.references import CallRef, StepRef
from perdure.domain.task import Agent, Limits, Task
from perdure.domain.thread import Thread, enter
from perdure.loop.model_step import take_step
from perdure.loop.tool_call import carry_out
from perdure.settings import Settings
from perdure.stores.breakers import Breakers
from perdure.tools import tool
from perdure.tools.registry import ToolRegistry
from tests.counting_documents import CountingDocuments
from tests.scripted_model import ModelStep, ScriptedModel

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)


@tool(idempotent=True)
def look(name: str) -> str:
    """Look at something.

    Args:
        name: At what.
    """
    return name


@tool
def act(name: str) -> str:
    """Do something once.

    Args:
        name: Of what.
    """
    return name


TOOLS = ToolRegistry([act, look])


@pytest.fixture
async def counting() -> AsyncIterator[CountingDocuments]:
    documents = SqliteDocuments(":memory:")
    yield CountingDocuments(documents)
    await documents.close()


def services(folder: Path, counting: CountingDocuments, calls: int, steps: int) -> Services:
    """The app with a model that asks for so many calls in each of its steps."""
    (folder / "a.yaml").write_text("name: a\ndescription: d\ninstructions: i\n")
    asked = tuple(ToolCall(f"c{n}", "look" if n % 2 else "act", '{"name": "it"}') for n in range(calls))
    model = ScriptedModel([ModelStep("", ModelReply("Thinking.", asked, Usage(), "m"))] * steps)
    app = build(Settings(), load_agents(folder, "a", TOOLS), TOOLS, cast("Documents", counting))
    # With a clock that stands still, for a busy machine may take longer than a process believes what it saw.
    breakers = Breakers(cast("Documents", counting), clock=lambda: 0.0)
    return dataclasses.replace(app, model=model, breakers=breakers)


async def add_task(app: Services, thread: str | None = None) -> None:
    agent = Agent("a", "i", "m", ("act", "look"), Limits(500, 60))
    await app.tasks.add(Task("task", "t", "u", "q", None, agent, {}, NOW, thread))
    if thread:
        await app.threads.add(enter(Thread(thread, "name", "t", "u", NOW, NOW), "task", NOW))


async def cost(app: Services, counting: CountingDocuments, step: int, thread: str | None = None) -> list[Counter[str]]:
    """Requests of a model step, then of each of its calls."""
    counting.reset()
    outcome = await take_step(app, StepRef("t", "task", step, thread))
    costs = [counting.requests.copy()]
    for index, name in outcome.calls:
        counting.reset()
        await carry_out(app, act if name == "act" else look, CallRef("t", "task", step, index))
        costs.append(counting.requests.copy())
    return costs


async def test_a_step_costs_one_query_and_four_writes_however_long_the_task_is(
    tmp_path: Path, counting: CountingDocuments
) -> None:
    app = services(tmp_path, counting, calls=2, steps=100)
    await add_task(app)
    first, *others = [(await cost(app, counting, step))[0] for step in range(1, 101)]
    # The day's use of the user and the model's breaker are looked for by the first, and known to those after it.
    assert first == Counter({"page": 1, "read": 2, "create": 2, "replace": 1, "batch": 1})
    assert others == [Counter({"page": 1, "create": 1, "replace": 2, "batch": 1})] * 99


async def test_a_step_in_a_thread_costs_one_read_and_one_write_more(
    tmp_path: Path, counting: CountingDocuments
) -> None:
    app = services(tmp_path, counting, calls=1, steps=3)
    await add_task(app, "thread")
    await cost(app, counting, 1, "thread")
    for step in range(2, 4):
        [taken, *_] = await cost(app, counting, step, "thread")
        assert taken == Counter({"page": 1, "create": 1, "replace": 2, "batch": 2, "read": 1})


async def test_a_call_costs_one_query_and_at_most_two_writes(tmp_path: Path, counting: CountingDocuments) -> None:
    app = services(tmp_path, counting, calls=2, steps=2)
    await add_task(app)
    await cost(app, counting, 1)  # Each looks for the breaker of its tool, and knows it from then on.
    [_, once, again] = await cost(app, counting, 2)
    assert once == Counter({"read_many": 1, "replace": 2})
    assert again == Counter({"read_many": 1, "replace": 1})


async def test_calls_are_recorded_a_hundred_at_a_time(tmp_path: Path, counting: CountingDocuments) -> None:
    app = services(tmp_path, counting, calls=250, steps=1)
    await add_task(app)
    counting.reset()
    await take_step(app, StepRef("t", "task", 1))
    assert counting.requests["batch"] == 3
