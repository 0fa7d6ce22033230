"""Model steps while models are down: who is asked, what it costs, and what it comes to."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast

import pytest

from perdure.agents import load_agents
from perdure.bootstrap import Services, build, tools
from perdure.documents.port import Documents
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.breaker import FAILURES, PROBE_SECONDS
from perdure.domain.budget import MICRO, Price
from perdure.domain.messages import ModelReply, ToolCall, Usage
from perdure.domain.next_step import StepOutcome
from perdure.domain.references import Closing, StepRef
from perdure.domain.task import Agent, Limits, Offer, Reason, Step, Task, TaskStatus
from perdure.loop.answering import SPREAD
from perdure.loop.finish import finish
from perdure.loop.model_step import take_step
from perdure.models.port import (
    ModelInterrupted,
    ModelRejected,
    ModelRequest,
    ModelUnavailable,
    ModelUnfit,
    OnText,
)
from perdure.settings import Settings
from perdure.stores.breakers import Breakers
from tests.counting_documents import CountingDocuments

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
REF = StepRef("tenant", "task", 1)
CHEAP, DEAR = Price(Decimal(1), Decimal(2)), Price(Decimal(10), Decimal(20))
AGENT = Agent("tester", "i", "first", ("calculate",), Limits(5, 60), price=DEAR, fallback=(Offer("second", CHEAP),))
TASK = Task("task", "tenant", "user", "What is 1+1?", None, AGENT, {}, NOW)
DOWN = ModelUnavailable("503")

type Says = ModelReply | Exception


@dataclass
class Models:
    """Answers for each model by name, always the same, and who was asked."""

    says: dict[str, Says]
    asked: list[str] = field(default_factory=list[str])

    async def reply(self, request: ModelRequest, on_text: OnText | None = None) -> ModelReply:
        self.asked.append(request.model)
        said = self.says[request.model]
        if isinstance(said, Exception):
            raise said
        return said

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class World:
    """One process with its store, its clock and its models."""

    app: Services
    counting: CountingDocuments
    models: Models
    now: float = 1_000_000.0

    async def take(self, **fields: bool) -> StepOutcome:
        return await take_step(self.app, replace(REF, **fields))

    async def fails(self, model: str = "first") -> None:
        """Let a model fail until its breaker opens."""
        for _ in range(FAILURES):
            await self.app.breakers.failed(await self.app.breakers.enter(f"model:{model}"))


def answer(model: str) -> ModelReply:
    return ModelReply("2.", (), Usage(1000, 100), f"{model}-2030")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    settings = Settings(stream_text=False)
    counting = CountingDocuments(SqliteDocuments(":memory:"))
    agents = load_agents(settings.agents_dir, settings.default_agent, tools())
    app = build(settings, agents, tools(), cast("Documents", counting))
    models = Models({"first": answer("first"), "second": answer("second")})
    world = World(app, counting, models)
    breakers = Breakers(cast("Documents", counting), clock=lambda: world.now)
    world.app = replace(app, model=models, breakers=breakers)
    await app.tasks.add(TASK)
    yield world
    await app.documents.close()


async def recorded(world: World) -> Step:
    [step] = (await world.app.tasks.record("tenant", "task")).steps
    return step


async def test_the_first_model_answers_as_long_as_it_can(world: World) -> None:
    assert await world.take() == StepOutcome("answer")
    assert world.models.asked == ["first"]
    assert (await recorded(world)).asked == "first"


async def test_a_model_that_fails_is_waited_for_until_it_is_known_to_be_down_and_then_the_next_answers_at_once(
    world: World,
) -> None:
    world.models.says["first"] = DOWN
    for _ in range(FAILURES - 1):
        assert (await world.take()).kind == "unavailable"
    assert await world.take() == StepOutcome("answer")
    assert world.models.asked == ["first"] * FAILURES + ["second"]


async def test_while_the_first_is_down_it_is_not_asked(world: World) -> None:
    await world.fails()
    assert await world.take() == StepOutcome("answer")
    assert world.models.asked == ["second"]


async def test_a_model_that_cannot_answer_is_passed_over_though_nothing_is_down(world: World) -> None:
    world.models.says["first"] = ModelUnfit("too long for it")
    assert await world.take() == StepOutcome("answer")
    assert world.models.asked == ["first", "second"]


async def test_who_refuses_is_there_and_no_other_is_asked(world: World) -> None:
    for _ in range(FAILURES - 1):
        await world.app.breakers.failed(await world.app.breakers.enter("model:first"))
    world.models.says["first"] = ModelRejected("malformed")
    assert await world.take() == StepOutcome("rejected", detail="malformed")
    assert world.models.asked == ["first"]
    assert not (await world.app.breakers.look("model:first")).failures


async def test_when_no_model_can_answer_the_first_ones_words_are_told(world: World) -> None:
    world.models.says = {"first": ModelUnfit("no such model"), "second": ModelUnfit("no access")}
    assert await world.take() == StepOutcome("rejected", detail="no such model")


async def test_one_that_may_come_back_is_waited_for_though_the_other_never_answers(world: World) -> None:
    await world.fails()
    world.models.says["second"] = ModelUnfit("too long for it")
    assert (await world.take()).kind == "down"


async def test_a_broken_exchange_is_repeated_and_not_given_to_another(world: World) -> None:
    world.models.says["first"] = ModelInterrupted("broken")
    assert await world.take() == StepOutcome("interrupted", detail="broken")
    assert world.models.asked == ["first"]


async def test_the_cost_is_that_of_the_model_that_answered(world: World) -> None:
    await world.fails()
    await world.take()
    record = await world.app.tasks.record("tenant", "task")
    assert (record.steps[0].asked, record.steps[0].model) == ("second", "second-2030")
    assert record.cost_usd == CHEAP.of(Usage(1000, 100)) / MICRO
    [used] = [used async for used in world.app.usage.of_user("tenant", "user", NOW.date(), datetime.now(UTC).date())]
    assert (used.model, used.micro_usd, used.steps) == ("second", 1200, 1)


async def test_a_task_of_an_earlier_version_costs_what_its_one_model_costs(world: World) -> None:
    step = Step(1, "2.", (), Usage(1000, 100), "first-2030", NOW, NOW)
    await world.app.tasks.add_step(REF, step)
    assert (await world.app.tasks.record("tenant", "task")).cost_usd == DEAR.of(Usage(1000, 100)) / MICRO


async def test_while_all_are_down_a_step_asks_nobody_and_reserves_nothing(world: World) -> None:
    for model in ("first", "second"):
        await world.fails(model)
    outcome = await world.take()
    assert outcome.kind == "down"
    assert outcome.retry_after and PROBE_SECONDS <= outcome.retry_after <= PROBE_SECONDS + SPREAD
    assert not world.models.asked
    assert [used async for used in world.app.usage.of_user("tenant", "user", NOW.date(), NOW.date())] == []


async def test_a_look_of_a_task_that_waits_costs_one_point_read(world: World) -> None:
    for model in ("first", "second"):
        await world.fails(model)
    world.counting.reset()
    assert (await world.take(waiting=True)).kind == "down"
    assert world.counting.requests == {"read": 1}


async def test_a_task_that_waits_asks_when_a_probe_is_due_and_its_answer_closes_the_breaker(world: World) -> None:
    for model in ("first", "second"):
        await world.fails(model)
    world.now += PROBE_SECONDS
    assert await world.take(waiting=True) == StepOutcome("answer")
    assert world.models.asked == ["first"]
    assert not (await world.app.breakers.look("model:first")).is_open


async def test_a_probe_that_fails_is_followed_by_the_next_model_at_once(world: World) -> None:
    await world.fails()
    world.models.says["first"] = DOWN
    world.now += PROBE_SECONDS
    assert await world.take(waiting=True) == StepOutcome("answer")
    assert world.models.asked == ["first", "second"]


async def test_a_task_that_was_ended_while_it_waited_finds_that_out(world: World) -> None:
    for model in ("first", "second"):
        await world.fails(model)
    await world.app.tasks.finish("tenant", "task", Reason.CANCELLED, None, None)
    assert await world.take(waiting=True) == StepOutcome("ended")


async def test_tasks_that_wait_for_the_same_model_come_back_one_after_another(world: World) -> None:
    for model in ("first", "second"):
        await world.fails(model)
    waits = set[float]()
    for number in range(20):
        await world.app.tasks.add(replace(TASK, id=f"task-{number}"))
        outcome = await take_step(world.app, replace(REF, task=f"task-{number}"))
        waits.add(round(outcome.retry_after or 0.0))
    assert len(waits) > 5


# What is there at the end.


def end(detail: str = "down") -> Closing:
    return Closing("tenant", "task", 2, Reason.DEGRADED, detail)


async def test_a_task_whose_model_does_not_come_back_ends_degraded_with_what_it_has(world: World) -> None:
    calls = (ToolCall("c", "calculate", '{"expression": "1+1"}'),)
    await world.app.tasks.add_step(REF, Step(1, "I calculate.", calls, Usage(), "m", NOW, NOW))
    task = (await finish(world.app, end())).record.task
    assert (task.status, task.reason, task.detail) == (TaskStatus.FAILED, Reason.DEGRADED, "down")
    assert task.result and "I calculate." in task.result
    assert not world.models.asked


async def test_a_task_whose_model_does_not_come_back_and_that_has_nothing_is_not_called_degraded(world: World) -> None:
    task = (await finish(world.app, end())).record.task
    assert (task.reason, task.result, task.detail) == (Reason.MODEL_UNAVAILABLE, None, "down")


# What the model is told of bad output.


async def test_a_repeated_call_is_settled_without_being_run(world: World) -> None:
    calls = (ToolCall("c", "calculate", '{"expression": "1+1"}'),)
    world.models.says["first"] = ModelReply("", calls, Usage(7, 5), "m")
    kinds: list[tuple[str, int]] = []
    for number in range(1, 7):
        outcome = await take_step(world.app, replace(REF, step=number))
        kinds.append((outcome.kind, len(outcome.calls)))
    assert kinds == [("calls", 1)] * 3 + [("calls", 0)] * 2 + [("repetition", 0)]
    refused = [call.content for call in (await world.app.tasks.record("tenant", "task")).calls if call.step > 3]
    assert [content and content.startswith("Not run: you made exactly") for content in refused[:2]] == [True, True]
    assert len(refused) == 3


async def test_an_empty_reply_is_told_to_the_model(world: World) -> None:
    world.models.says["first"] = ModelReply(" ", (), Usage(7, 5), "m")
    outcomes = [await take_step(world.app, replace(REF, step=number)) for number in range(1, 4)]
    assert [outcome.kind for outcome in outcomes] == ["empty", "empty", "empty_reply"]
