"""docs/degradation.md, row by row: what works while a dependency is away. Some rows have their tests elsewhere."""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from activities.tools.search_documents import search_documents
from perdure.agents import load_agents
from perdure.allowances import Allowances, PerModel
from perdure.bootstrap import Services, build
from perdure.documents.containers import CONTROLS
from perdure.documents.port import Documents, StoreUnavailable
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.breaker import FAILURES
from perdure.domain.budget import Budget
from perdure.domain.messages import ModelReply, ToolCall, Usage
from perdure.domain.next_step import StepOutcome
from perdure.domain.references import CallRef, StepRef
from perdure.domain.task import Agent, CallState, Limits, Reason, Task
from perdure.loop.model_step import take_step
from perdure.loop.tool_call import CallInterrupted, carry_out
from perdure.models.failures import HANDLING
from perdure.models.guarded import GuardedEmbeddings
from perdure.models.port import ModelUnavailable
from perdure.models.throttle import ThrottledModel
from perdure.settings import ROOT, Settings
from perdure.stores.breakers import Breakers
from perdure.stores.memories import MemoryStore
from perdure.stores.model_rates import ModelRates
from perdure.tools import tool
from perdure.tools.registry import ToolRegistry
from tests.memory_stores import memory_over
from tests.scripted_model import ModelStep, ScriptedModel

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "degradation.md"
NOW = datetime.now(UTC)
REF = StepRef("t", "task", 1)
runs: list[str] = []


@tool(idempotent=True, cache_ttl=60)
def look(name: str) -> str:
    """Look once.

    Args:
        name: At what.
    """
    runs.append(name)
    return f"saw {name}"


TOOLS = ToolRegistry([look, search_documents])
TASK = Task("task", "t", "u", "q", None, Agent("a", "i", "m", ("look", "search_documents"), Limits(5, 60)), {}, NOW)
LOOK = ToolCall("c", "look", '{"name": "it"}')
SEARCH = ToolCall("c", "search_documents", '{"query": "cats"}')


@dataclass
class PartlyAway:
    """A store that does not answer for some of what it holds."""

    store: SqliteDocuments
    away: Callable[[tuple[Any, ...]], bool]

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.store, name)

        async def passed(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 1 and args[0] is CONTROLS and self.away(args):
                raise StoreUnavailable("scripted")
            return await operation(*args, **kwargs)

        return passed if name != "close" else operation


def kind(name: str) -> Callable[[tuple[Any, ...]], bool]:
    """Documents of `controls` of this kind."""
    return lambda args: args[1][1] == name


class DeadEmbeddings:
    """An embedding model that does not answer."""

    model, dimensions = "dead", 3

    def __init__(self) -> None:
        self.asked = 0

    async def embed(self, texts: Any) -> Any:
        self.asked += 1
        raise ModelUnavailable("it does not answer")

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def store() -> AsyncIterator[SqliteDocuments]:
    runs.clear()
    documents = SqliteDocuments(":memory:")
    yield documents
    await documents.close()


def services(
    folder: Path, documents: object, *replies: ModelReply, settings: Settings | None = None
) -> tuple[Services, ScriptedModel]:
    (folder / "a.yaml").write_text("name: a\ndescription: d\ninstructions: i\n")
    model = ScriptedModel([ModelStep("", reply) for reply in replies])
    chosen = settings or Settings(stream_text=False)
    app = build(chosen, load_agents(folder, "a", TOOLS), TOOLS, cast("Documents", documents))
    return replace(app, model=model), model


def says(text: str, *calls: ToolCall) -> ModelReply:
    return ModelReply(text, calls, Usage(7, 5), "m")


async def test_a_tool_cache_that_is_away_fails_no_call(tmp_path: Path, store: SqliteDocuments) -> None:
    app, _ = services(tmp_path, PartlyAway(store, kind("toolCache")), says("", LOOK))
    await app.tasks.add(TASK)
    await take_step(app, REF)
    assert await carry_out(app, look, CallRef("t", "task", 1, 0)) is CallState.COMMITTED
    assert (await app.tasks.call(CallRef("t", "task", 1, 0))).entry.content == "saw it"
    assert runs == ["it"]


async def test_breakers_that_cannot_be_read_refuse_nothing(tmp_path: Path, store: SqliteDocuments) -> None:
    app, _ = services(tmp_path, PartlyAway(store, kind("breakers")), says("Yes."))
    await app.tasks.add(TASK)
    assert await take_step(app, REF) == StepOutcome("answer")


async def test_a_model_is_not_asked_while_nobody_can_say_what_is_left_of_a_budget(
    tmp_path: Path, store: SqliteDocuments
) -> None:
    settings = Settings(stream_text=False, allowances=Allowances(user_day=Budget(10**6)))
    app, model = services(tmp_path, PartlyAway(store, kind("usage")), settings=settings)
    await app.tasks.add(TASK)
    with pytest.raises(StoreUnavailable):
        await take_step(app, REF)
    assert not model.requests


async def test_a_model_is_not_asked_while_nobody_can_say_what_is_left_of_its_minute(
    tmp_path: Path, store: SqliteDocuments
) -> None:
    documents = cast("Documents", PartlyAway(store, kind("modelRate")))
    app, model = services(tmp_path, documents)
    limited = ThrottledModel(model, ModelRates(documents), PerModel(10), PerModel())
    await app.tasks.add(TASK)
    with pytest.raises(StoreUnavailable):
        await take_step(replace(app, model=limited), REF)
    assert not model.requests


async def test_while_the_embedding_model_is_down_a_search_says_so_and_the_task_answers_without_it(
    tmp_path: Path, store: SqliteDocuments
) -> None:
    memory = memory_over(store)
    await memory.load("t", "u", "Pets", "# Cats\n\nA cat purrs.")
    app, model = services(tmp_path, store, says("", SEARCH), says("I could not search, but cats purr."))
    app = replace(app, memories=MemoryStore(store, cast("Any", Down())))
    await app.tasks.add(TASK)
    await take_step(app, REF)
    # As often as the activity's policy tries it; each says so at once.
    with pytest.raises(CallInterrupted):
        await carry_out(app, search_documents, CallRef("t", "task", 1, 0))
    assert await take_step(app, replace(REF, step=2)) == StepOutcome("answer")
    told = model.requests[-1].messages[-1].content
    assert told == "Error: search_documents is unavailable: it does not answer"


class Down:
    """An embedding space whose model does not answer."""

    async def query(self, text: str) -> Any:
        raise ModelUnavailable("it does not answer")


async def test_an_embedding_model_that_is_down_is_not_asked_for_every_search(store: SqliteDocuments) -> None:
    dead = DeadEmbeddings()
    embeddings = GuardedEmbeddings(dead, Breakers(store, clock=lambda: 1000.0))
    for _ in range(FAILURES + 20):
        with pytest.raises(ModelUnavailable):
            await embeddings.embed(["cats"])
    assert dead.asked == FAILURES


# The pages.


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_every_reason_a_task_may_end_for_is_documented_and_no_other(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    if page == "README.md":
        listed = text.partition("says why in `reason`: ")[2].partition(", and `detail`")[0]
        assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(set(Reason) - {Reason.ANSWERED})
    else:
        section = text.partition("## How a task ends")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", section, re.MULTILINE)
        assert dict(rows[1:]) == {str(reason): str(reason.status) for reason in Reason}


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text("utf-8")))
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text("utf-8"))
    }
    assert named
    assert named <= there


def test_every_row_of_the_dependencies_names_a_test() -> None:
    section = PAGE.read_text("utf-8").partition("## By dependency")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    assert [row for row in rows if "`test_" not in row] == []


def test_the_page_handles_every_failure_of_a_provider_as_the_code_does() -> None:
    section = PAGE.read_text("utf-8").partition("## What a provider's failure means")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|.*\| `(\w+)` \|$", section, re.MULTILINE)
    assert rows == [(str(word), str(how)) for word, how in HANDLING.items()]
