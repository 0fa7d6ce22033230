"""The stream of a task's events against a clock of its own: what is said while nothing happens, and when it closes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from perdure.api import events
from perdure.api.events import CLOSE_SECONDS, HEARTBEAT_SECONDS, IDLE_POLL_SECONDS, stream
from perdure.documents.port import Change
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.messages import Usage
from perdure.domain.references import StepRef
from perdure.domain.task import Agent, Limits, Reason, Step, Task
from perdure.stores.tasks import TaskStore

pytestmark = pytest.mark.anyio

HEARTBEAT = ": still working\n\n"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TASK = Task("task", "t", "u", "What?", None, Agent("a", "Help.", "m", (), Limits(5, 60)), {}, NOW)


class Clock:
    """Time that passes only while the stream sleeps. It stands in for both `time` and `asyncio` of the module."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class CountingStore(TaskStore):
    """Counts how often it was asked for changes."""

    asked = 0

    async def changes(self, tenant: str, task_id: str, cursor: str | None, limit: int) -> list[Change]:
        self.asked += 1
        return await super().changes(tenant, task_id, cursor, limit)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(events, "time", clock)
    monkeypatch.setattr(events, "asyncio", clock)
    return clock


@pytest.fixture
async def tasks() -> AsyncIterator[CountingStore]:
    documents = SqliteDocuments(":memory:")
    store = CountingStore(documents)
    await store.add(TASK)
    yield store
    await documents.close()


async def test_a_quiet_stream_says_that_the_task_still_runs_and_closes_before_azure_would_cut_it(
    clock: Clock, tasks: CountingStore
) -> None:
    said = [(clock.now, piece) async for piece in stream(tasks, TASK, None)]
    assert said[0] == (0.0, "retry: 1000\n\n")
    assert said[1][1].startswith("id: ")
    beats = [at for at, piece in said[2:] if piece == HEARTBEAT]
    assert len(beats) == len(said) - 2
    gaps = [later - earlier for earlier, later in zip([0.0, *beats], [*beats, clock.now], strict=True)]
    assert max(gaps) <= HEARTBEAT_SECONDS + 2 * IDLE_POLL_SECONDS
    assert min(gaps[:-1]) > HEARTBEAT_SECONDS
    assert CLOSE_SECONDS <= clock.now < CLOSE_SECONDS + 2 * IDLE_POLL_SECONDS < 230
    assert HEARTBEAT_SECONDS < 60, "what stands in between may cut a connection that is silent for a minute"


async def test_whatever_happens_puts_the_next_heartbeat_off(clock: Clock, tasks: CountingStore) -> None:
    told = stream(tasks, TASK, None)
    said: list[tuple[float, str]] = []
    async for piece in told:
        said.append((clock.now, piece))
        if piece == HEARTBEAT:
            break
        # Something happens a second before the first heartbeat is due.
        if len(said) == 2:
            clock.now = HEARTBEAT_SECONDS - 1
            await tasks.add_step(
                StepRef("t", "task", 1), Step(1, "Thinking.", (), Usage(), "m", started_at=NOW, ended_at=NOW)
            )
    assert [piece.partition("event: ")[2].partition("\n")[0] for _, piece in said] == ["", "task", "step", ""]
    assert said[3][0] - said[2][0] > HEARTBEAT_SECONDS


async def test_a_stream_ends_with_its_task_and_asks_no_more(clock: Clock, tasks: CountingStore) -> None:
    await tasks.finish("t", "task", Reason.ANSWERED, "That.", None)
    said = [piece async for piece in stream(tasks, TASK, None)]
    assert "event: done" in said[-1]
    assert (clock.now, tasks.asked) == (0.0, 1)


async def test_many_changes_are_told_without_a_pause_between_their_pages(
    clock: Clock, tasks: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PAGE", 2)
    for number in range(1, 5):
        step = Step(number, f"Thought {number}.", (), Usage(), "m", started_at=NOW, ended_at=NOW)
        await tasks.add_step(StepRef("t", "task", number), step)
    await tasks.finish("t", "task", Reason.ANSWERED, "That.", None)
    said = [piece async for piece in stream(tasks, TASK, None)]
    assert [piece.count("event: step") for piece in said] == [0, 1, 1, 1, 1, 0]
    assert clock.now == 0.0
