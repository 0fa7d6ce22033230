"""The model step against a store in memory and a model that follows a script: what it records, and what it reports."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from perdure.agents import load_agents
from perdure.bootstrap import Services, build, tools
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.messages import ModelReply, ToolCall, Usage
from perdure.domain.next_step import StepOutcome
from perdure.domain.references import CallRef, StepRef
from perdure.domain.task import Agent, CallState, Limits, Reason, Task
from perdure.domain.thread import Place, Thread
from perdure.loop.answering import DETAIL, MAX_REPLY_BYTES, SPREAD
from perdure.loop.model_step import take_step
from perdure.models.port import ModelLimited, ModelRejected, ModelRequest, ModelUnavailable
from perdure.settings import Settings
from perdure.tools import Tool, tool
from perdure.tools.registry import ToolRegistry
from tests.scripted_model import ModelStep, ScriptedModel

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
REF = StepRef("tenant", "task", 1)
AGENT = Agent("tester", "Be exact.", "scripted", ("calculate", "current_time", "dropped_tool"), Limits(5, 60))
TASK = Task("task", "tenant", "user", "What is 1+1?", None, AGENT, {}, NOW)
ADD = ToolCall("call_0", "calculate", '{"expression": "1+1"}')
ASK_TIME = ToolCall("call_1", "current_time", '{"timezone": "Asia/Tokyo"}')

type Follow = Callable[..., Script]


def says(text: str, *calls: ToolCall) -> ModelReply:
    return ModelReply(text, calls, Usage(7, 5), "scripted-1")


class Script(ScriptedModel):
    """A script and the app whose model follows it."""

    def __init__(self, app: Services, steps: Sequence[ModelStep]) -> None:
        super().__init__(steps)
        self._app = replace(app, model=self)

    async def take(self, ref: StepRef) -> StepOutcome:
        return await take_step(self._app, ref)


@pytest.fixture
async def app() -> AsyncIterator[Services]:
    settings = Settings()
    agents = load_agents(settings.agents_dir, settings.default_agent, tools())
    app = build(settings, agents, tools(), SqliteDocuments(":memory:"))
    await app.tasks.add(TASK)
    yield app
    await app.documents.close()


@pytest.fixture
def follow(app: Services) -> Follow:
    """Let the step's model follow a script; to be entered, so that an unused step fails the test."""
    return lambda *steps: Script(app, steps)


async def test_the_model_is_asked_with_the_instructions_the_query_and_the_tools_there_are(follow: Follow) -> None:
    def as_expected(request: ModelRequest) -> None:
        assert (request.model, request.max_output_tokens) == ("scripted", 4096)
        assert [(message.role, message.content) for message in request.messages] == [
            ("system", "Be exact."),
            ("user", "What is 1+1?"),
        ]
        # Of a task whose tools were not stored with it, those that there are.
        assert [tool.name for tool in request.tools] == ["calculate", "current_time"]

    with follow(ModelStep(as_expected, says("2."))) as script:
        assert await script.take(REF) == StepOutcome("answer")


async def test_a_reply_is_recorded_as_it_came(app: Services, follow: Follow) -> None:
    with follow(ModelStep("1+1", says("I calculate.", ADD, ASK_TIME))) as script:
        assert await script.take(REF) == StepOutcome("calls", ((0, "calculate"), (1, "current_time")), timeout=5.0)
    record = await app.tasks.record("tenant", "task")
    [step] = record.steps
    assert (step.number, step.text, step.calls) == (1, "I calculate.", (ADD, ASK_TIME))
    assert (step.usage, step.model) == (Usage(7, 5), "scripted-1")
    assert [(call.tool, call.arguments, call.state) for call in record.calls] == [
        ("calculate", ADD.arguments, CallState.PREPARED),
        ("current_time", ASK_TIME.arguments, CallState.PREPARED),
    ]


async def test_the_next_step_sees_the_calls_and_their_results(app: Services, follow: Follow) -> None:
    async def run_call() -> None:
        at = CallRef("tenant", "task", 1, 0)
        found = await app.tasks.call(at)
        entry = replace(found.entry, state=CallState.COMMITTED, content="2", ended_at=NOW)
        await app.tasks.put_call(at, found, entry)

    def as_expected(request: ModelRequest) -> None:
        assert [message.role for message in request.messages] == ["system", "user", "assistant", "tool"]
        assert request.messages[-2].tool_calls == (ADD,)
        assert (request.messages[-1].content, request.messages[-1].tool_call_id) == ("2", "call_0")

    with follow(ModelStep("1+1", says("", ADD)), ModelStep(as_expected, says("It is 2."))) as script:
        await script.take(REF)
        await run_call()
        assert await script.take(replace(REF, step=2)) == StepOutcome("answer")


async def test_a_retried_attempt_finds_the_step_and_does_not_ask_again(app: Services, follow: Follow) -> None:
    with follow(ModelStep("1+1", says("Once.", ADD))) as script:
        first = await script.take(REF)
        before = await app.tasks.record("tenant", "task")
        assert await script.take(REF) == first
    assert await app.tasks.record("tenant", "task") == before


async def test_an_attempt_that_died_before_it_recorded_the_calls_is_made_whole(
    app: Services, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise OSError("the worker died")

    with follow(ModelStep("1+1", says("Once.", ADD))) as script:
        with monkeypatch.context() as dying:
            dying.setattr(type(app.tasks), "add_calls", die)
            with pytest.raises(OSError, match="died"):
                await script.take(REF)
        assert (await app.tasks.record("tenant", "task")).calls == ()
        assert await script.take(REF) == StepOutcome("calls", ((0, "calculate"),), timeout=5.0)
    assert len((await app.tasks.record("tenant", "task")).calls) == 1


async def test_a_retried_attempt_leaves_calls_alone_that_have_run(app: Services, follow: Follow) -> None:
    at = CallRef("tenant", "task", 1, 0)
    with follow(ModelStep("1+1", says("Once.", ADD))) as script:
        await script.take(REF)
        found = await app.tasks.call(at)
        ran = replace(found.entry, state=CallState.COMMITTED, content="2", ended_at=NOW)
        await app.tasks.put_call(at, found, ran)
        await script.take(REF)
    assert (await app.tasks.call(at)).entry == ran


async def test_of_two_attempts_at_once_the_first_to_record_counts_for_both(app: Services, follow: Follow) -> None:
    with follow(ModelStep("1+1", says("One.", ADD)), ModelStep("1+1", says("Two.", ASK_TIME))) as script:
        outcomes = await asyncio.gather(script.take(REF), script.take(REF))
    record = await app.tasks.record("tenant", "task")
    [step], [call] = record.steps, record.calls
    assert (step.text, call.tool) in [("One.", "calculate"), ("Two.", "current_time")]
    assert outcomes == [StepOutcome("calls", ((0, call.tool),), timeout=5.0)] * 2


async def test_an_unavailable_model_is_reported_and_nothing_recorded_so_that_it_may_be_asked_again(
    app: Services, follow: Follow
) -> None:
    down = ModelUnavailable("busy " * 1000, retry_after=3.0)
    with follow(ModelStep("1+1", down), ModelStep("1+1", says("2."))) as script:
        outcome = await script.take(REF)
        assert (outcome.kind, outcome.detail) == ("unavailable", ("busy " * 1000)[:DETAIL])
        # As long as was asked for, and up to twice that, so that not all come back at once.
        assert outcome.retry_after and 3.0 <= outcome.retry_after <= 6.0
        assert (await app.tasks.record("tenant", "task")).steps == ()
        assert await script.take(REF) == StepOutcome("answer")


async def test_a_model_that_may_not_be_asked_now_is_no_failure_and_not_all_tasks_come_back_at_once(
    app: Services, follow: Follow
) -> None:
    limited, waits = ModelLimited("full", retry_after=30.0), set[float]()
    for number in range(5):
        await app.tasks.add(replace(TASK, id=f"task-{number}"))
        with follow(ModelStep("1+1", limited)) as script:
            outcome = await script.take(replace(REF, task=f"task-{number}"))
        assert outcome.kind == "limited"
        assert outcome.retry_after
        waits.add(outcome.retry_after)
    assert len(waits) > 1
    assert min(waits) >= 30
    assert max(waits) <= 30 + SPREAD


async def test_a_refused_request_is_reported_with_the_providers_words(app: Services, follow: Follow) -> None:
    with follow(ModelStep("1+1", ModelRejected("no such model"))) as script:
        assert await script.take(REF) == StepOutcome("rejected", detail="no such model")
    assert (await app.tasks.record("tenant", "task")).steps == ()


@pytest.mark.parametrize("text", ["", " \n\t"])
async def test_a_reply_of_nothing_is_empty(follow: Follow, text: str) -> None:
    with follow(ModelStep("1+1", says(text))) as script:
        assert await script.take(REF) == StepOutcome("empty")


@pytest.mark.parametrize(
    "text", ["x" * (MAX_REPLY_BYTES + 1), "\0" * (MAX_REPLY_BYTES // 6 + 1)], ids=["long", "escaped"]
)
async def test_a_reply_too_large_to_be_stored_is_no_reply(app: Services, follow: Follow, text: str) -> None:
    with follow(ModelStep("1+1", says(text))) as script:
        outcome = await script.take(REF)
    assert (outcome.kind, outcome.calls) == ("rejected", ())
    assert outcome.detail and "1,048,576 are taken" in outcome.detail
    assert (await app.tasks.record("tenant", "task")).steps == ()


async def test_a_call_of_a_tool_that_is_not_there_is_settled_and_not_scheduled(app: Services, follow: Follow) -> None:
    unknown = ToolCall("call_9", "dropped_tool", "{}")
    with follow(ModelStep("1+1", says("", unknown, ADD))) as script:
        assert await script.take(REF) == StepOutcome("calls", ((1, "calculate"),), timeout=5.0)
    settled, prepared = (await app.tasks.record("tenant", "task")).calls
    assert (settled.state, prepared.state) == (CallState.FAILED, CallState.PREPARED)
    assert settled.content == "There is no tool 'dropped_tool'. The tools are: calculate, current_time."


def declared(function: Callable[..., object]) -> Tool:
    return tool(idempotent=True)(function)


async def test_a_task_sees_its_tools_as_they_were_when_it_began(app: Services) -> None:
    """Since then, one was changed and one dropped: the model is told so when it calls them."""

    def look_up(city: str) -> str:
        """Look a city up."""
        return city

    before, dropped = declared(look_up), declared(fly)

    def changed(city: str, country: str) -> str:
        """Look a city up in its country."""
        return city + country

    changed.__name__ = "look_up"
    after = replace(app, tools=ToolRegistry([declared(changed)]))
    agent = replace(AGENT, tools=("look_up", "fly"))
    await app.tasks.add(replace(TASK, id="old", agent=agent), [before.spec, dropped.spec])
    at = replace(REF, task="old")

    def as_it_began(request: ModelRequest) -> None:
        assert list(request.tools) == [before.spec, dropped.spec]

    old, new = '{"city": "Turin"}', '{"city": "Turin", "country": "IT"}'
    calls = ToolCall("a", "look_up", old), ToolCall("b", "fly", "{}"), ToolCall("c", "look_up", new)
    with ScriptedModel([ModelStep(as_it_began, says("", *calls, ToolCall("d", "never", "{}")))]) as model:
        outcome = await take_step(replace(after, model=model), at)
    # What fits the tool as it is now may run.
    assert outcome == StepOutcome("calls", ((2, "look_up"),), timeout=30.0)
    record = await app.tasks.record("tenant", "old")
    assert [call.content for call in record.calls] == [
        "look_up was changed since this task began, and this call does not fit it any more, so it was not run. "
        "The arguments of look_up do not fit its parameters: country is missing.",
        "The tool 'fly' is not available any more: the app was changed since this task began. "
        "There are still: look_up.",
        None,
        "There is no tool 'never'. The tools are: look_up.",
    ]


def fly() -> str:
    """Fly."""
    return "flown"


async def test_a_task_that_has_ended_asks_nothing_more(app: Services, follow: Follow) -> None:
    await app.tasks.finish("tenant", "task", Reason.CANCELLED, None, None)
    with follow() as script:
        assert await script.take(REF) == StepOutcome("ended")


@pytest.mark.parametrize(("writer", "kind"), [("task", "answer"), ("another", "lease_lost"), (None, "lease_lost")])
async def test_only_the_writer_of_a_thread_may_take_a_step_of_it(
    app: Services, follow: Follow, writer: str | None, kind: str
) -> None:
    lease = Place(writer, NOW.replace(year=NOW.year + 1)) if writer else None
    thread = Thread("thread", "name", "tenant", "user", created_at=NOW, updated_at=NOW, lease=lease)
    assert await app.threads.add(thread)
    script = [ModelStep("1+1", says("2."))] if writer == "task" else []
    with follow(*script) as script:
        assert (await script.take(replace(REF, thread="thread"))).kind == kind
