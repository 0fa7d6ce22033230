"""A model within its deployment's limits, by one instance and by several that share a store."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from perdure.allowances import AllowanceError, Allowances, PerModel
from perdure.documents.containers import CONTROLS
from perdure.documents.port import StoreUnavailable
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.messages import Message, ModelReply, ToolSpec, Usage
from perdure.models.port import ModelLimited, ModelRequest, ModelUnavailable, OnText
from perdure.models.throttle import ThrottledModel
from perdure.stores.model_rates import PARTITION, ModelRates

pytestmark = pytest.mark.anyio

ASK = ModelRequest("m", [Message("user", "x" * 384)], max_output_tokens=100)
"""A request of 100 tokens in and at most 100 out."""


class Clock:
    now = 60_000_015.0

    def __call__(self) -> float:
        return self.now


class Replying:
    """Answers with so many tokens in all, or fails."""

    def __init__(self, tokens: int = 200, failure: Exception | None = None) -> None:
        self.asked, self.tokens, self.failure = 0, tokens, failure

    async def reply(self, request: ModelRequest, on_text: OnText | None = None) -> ModelReply:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure:
            raise self.failure
        return ModelReply("Yes.", (), Usage(self.tokens, 0), "m")

    async def close(self) -> None:
        pass


@pytest.fixture
async def documents() -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(":memory:")
    yield documents
    await documents.close()


async def admitted(model: ThrottledModel, request: ModelRequest = ASK) -> bool:
    try:
        await model.reply(request)
    except ModelLimited:
        return False
    return True


def test_messages_and_tools_are_estimated() -> None:
    assert ASK.input_tokens == 100
    tool = ToolSpec("add", "Add.", {"type": "object"})
    assert replace(ASK, tools=[tool]).input_tokens in range(105, 120)
    # Not by characters: those of other scripts are tokens of their own.
    assert replace(ASK, messages=[Message("user", "猫" * 100)]).input_tokens in range(75, 130)


async def test_requests_are_counted_by_the_minute_and_by_the_model(documents: SqliteDocuments) -> None:
    clock, rates = Clock(), ModelRates(documents)
    model = ThrottledModel(Replying(), rates, PerModel(3, {"other": 1}), PerModel(), clock)
    assert [await admitted(model) for _ in range(5)] == [True] * 3 + [False] * 2
    with pytest.raises(ModelLimited, match="3 requests") as limited:
        await model.reply(ASK)
    assert limited.value.retry_after == 45.0
    other = replace(ASK, model="other")
    assert [await admitted(model, other) for _ in range(2)] == [True, False]
    clock.now += 45
    assert await admitted(model)


async def test_tokens_are_counted_as_they_may_come_to_and_corrected_to_what_they_came_to(
    documents: SqliteDocuments,
) -> None:
    rates, thrifty = ModelRates(documents), Replying(tokens=50)
    model = ThrottledModel(thrifty, rates, PerModel(), PerModel(1000), Clock())
    # One after the other, each leaves 950 of its 1,000; side by side only five fit.
    assert [await admitted(model) for _ in range(17)] == [True] * 17
    assert [await admitted(model) for _ in range(2)] == [False] * 2
    clock = Clock()
    clock.now += 60
    model = ThrottledModel(thrifty, rates, PerModel(), PerModel(1000), clock)
    assert sum(await asyncio.gather(*(admitted(model) for _ in range(64)))) == 5


async def test_sixty_four_at_once_over_several_instances_keep_to_the_limit(documents: SqliteDocuments) -> None:
    several = [
        ThrottledModel(Replying(), ModelRates(documents), PerModel(20), PerModel(2000), Clock()) for _ in range(4)
    ]
    assert sum(await asyncio.gather(*(admitted(one) for _ in range(16) for one in several))) == 10


async def test_what_was_refused_takes_no_room(documents: SqliteDocuments) -> None:
    model = ThrottledModel(Replying(), ModelRates(documents), PerModel(), PerModel(500), Clock())
    assert await admitted(model)
    for _ in range(5):
        assert not await admitted(model, replace(ASK, max_output_tokens=400))
    assert await admitted(model)


async def test_a_request_larger_than_the_limit_has_a_window_for_itself(documents: SqliteDocuments) -> None:
    clock = Clock()
    model = ThrottledModel(Replying(), ModelRates(documents), PerModel(), PerModel(150), clock)
    assert [await admitted(model) for _ in range(2)] == [True, False]
    clock.now += 60
    assert await admitted(model)


async def test_a_request_that_failed_stays_counted(documents: SqliteDocuments) -> None:
    failing = Replying(failure=ModelUnavailable("down"))
    model = ThrottledModel(failing, ModelRates(documents), PerModel(1), PerModel(), Clock())
    with pytest.raises(ModelUnavailable):
        await model.reply(ASK)
    assert not await admitted(model)


async def test_a_reply_is_not_lost_when_it_cannot_be_counted(
    documents: SqliteDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, add = ModelRates(documents), ModelRates.add

    async def once(self: ModelRates, model: str, window: int, requests: int, tokens: int) -> tuple[int, int]:
        if not requests:
            raise StoreUnavailable("away")
        return await add(self, model, window, requests, tokens)

    monkeypatch.setattr(ModelRates, "add", once)
    model = ThrottledModel(Replying(10), rates, PerModel(), PerModel(1000), Clock())
    assert (await model.reply(ASK)).text == "Yes."


async def test_a_model_without_limits_is_not_counted(documents: SqliteDocuments) -> None:
    model = ThrottledModel(Replying(), ModelRates(documents), PerModel(0, {"other": 5}), PerModel(), Clock())
    assert await admitted(model)
    assert (await documents.page(CONTROLS, PARTITION)).items == []


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("", PerModel()),
        ("60000", PerModel(60_000)),
        ("gpt-4o=60000, gpt-4o-mini=200000", PerModel(0, {"gpt-4o": 60_000, "gpt-4o-mini": 200_000})),
        ("5,a=0", PerModel(5, {"a": 0})),
    ],
)
def test_a_limit_is_one_number_or_one_for_each_model(text: str, amounts: PerModel) -> None:
    assert Allowances.from_env({"PERDURE_MODEL_TPM": text}).model_tokens == amounts


@pytest.mark.parametrize("text", ["many", "a=b", "a=", "-1", "1.5"])
def test_a_limit_that_is_none_is_named(text: str) -> None:
    with pytest.raises(AllowanceError, match="PERDURE_MODEL_RPM"):
        Allowances.from_env({"PERDURE_MODEL_RPM": text})
