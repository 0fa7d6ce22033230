"""Floods: what is too much at a time waits, nothing is refused, and what has ended takes no memory."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import durabletask.internal.orchestrator_service_pb2 as pb
import pytest

from devhost.taskhub.service import TaskHub
from devhost.taskhub.work import DECLINED_SECONDS, Kind
from tests.taskhub.controlled import ControlledHub, activity, end, timer

FLOOD = 10_000
ORCHESTRATIONS, ACTIVITIES = 7, 5


class Busy:
    """A worker that runs every item for some turns of the loop: one activity each, then the end.

    Attributes:
        most: How many items of a kind it had at the same time.
        ran: How often each activity ran.
    """

    def __init__(self, hub: TaskHub) -> None:
        self._hub = hub
        self._now: Counter[Kind] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self.most: Counter[Kind] = Counter()
        self.ran: Counter[str] = Counter()

    def accept(self, item: pb.WorkItem) -> None:
        kind = Kind.ORCHESTRATION if item.HasField("orchestratorRequest") else Kind.ACTIVITY
        self._now[kind] += 1
        self.most[kind] = max(self.most[kind], self._now[kind])
        task = asyncio.get_running_loop().create_task(self._run(kind, item))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, kind: Kind, item: pb.WorkItem) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        self._now[kind] -= 1
        if kind is Kind.ACTIVITY:
            self.ran[item.activityRequest.orchestrationInstance.instanceId] += 1
            await self._hub.CompleteActivityTask(pb.ActivityResponse(completionToken=item.completionToken))
        else:
            past = item.orchestratorRequest.pastEvents
            decided = end() if past else activity(1)
            response = pb.OrchestratorResponse(actions=[decided], completionToken=item.completionToken)
            await self._hub.CompleteOrchestratorTask(response)


@pytest.fixture(scope="module")
def flooded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TaskHub, Busy]]:
    """A hub through which so many orchestrations went at once, and its worker."""
    path = tmp_path_factory.mktemp("flooded") / "hub.db"

    async def run() -> tuple[TaskHub, Busy]:
        hub = TaskHub(path, durable=False, on_failure=lambda error: pytest.fail(str(error)))
        busy = Busy(hub)
        starts = [pb.CreateInstanceRequest(instanceId=f"i{n}", name="Orchestrator") for n in range(FLOOD)]
        await asyncio.gather(*map(hub.StartInstance, starts))
        hub.work.attach(busy, {Kind.ORCHESTRATION: ORCHESTRATIONS, Kind.ACTIVITY: ACTIVITIES, Kind.ENTITY: 1})
        for start in starts:
            await hub.WaitForInstanceCompletion(pb.GetInstanceRequest(instanceId=start.instanceId))
        # What is written can be seen a moment before the hub itself hears of it.
        await hub._journal._idle.wait()
        return hub, busy

    with asyncio.Runner() as runner:
        hub, busy = runner.run(run())
        yield hub, busy
        runner.run(hub.close())


def test_a_flood_of_starts_queues_and_all_end_within_the_limits(flooded: tuple[TaskHub, Busy]) -> None:
    hub, busy = flooded
    states, _ = hub.queries.instances(pb.InstanceQuery(maxInstanceCount=FLOOD + 1))
    assert Counter(s.orchestrationStatus for s in states) == {pb.ORCHESTRATION_STATUS_COMPLETED: FLOOD}
    assert busy.ran == Counter({f"i{n}": 1 for n in range(FLOOD)})
    assert busy.most == {Kind.ORCHESTRATION: ORCHESTRATIONS, Kind.ACTIVITY: ACTIVITIES}


def test_a_hub_keeps_nothing_in_memory_of_what_has_ended(flooded: tuple[TaskHub, Busy], tmp_path: Path) -> None:
    assert sizes(flooded[0]) == sizes_of_a_new_one(tmp_path / "new.db")


def sizes(hub: TaskHub) -> dict[str, int]:
    """Entries of every collection that the parts of a hub have."""
    parts = (hub, hub.work, hub._orchestrations, hub._entities, hub._activities, hub._journal, hub._alarm)
    found = {f"{type(part).__name__}.{name}": value for part in parts for name, value in vars(part).items()}
    found |= {f"queue of {kind.value}": queue for kind, queue in hub.work._queues.items()}
    counted = {name: len(value) for name, value in found.items() if hasattr(value, "__len__")}
    # The flood's worker is attached still.
    return counted | {"WorkItems._workers": 0}


def sizes_of_a_new_one(path: Path) -> dict[str, int]:
    async def run() -> dict[str, int]:
        hub = TaskHub(path, durable=False, on_failure=lambda error: pytest.fail(str(error)))
        found = sizes(hub)
        await hub.close()
        return found

    return asyncio.run(run())


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ControlledHub]:
    hub = ControlledHub(tmp_path, limits={Kind.ACTIVITY: 2})
    yield hub
    hub.close()


def test_timers_that_are_cancelled_are_forgotten(hub: ControlledHub) -> None:
    for number in range(300):
        hub.ask(hub.hub.StartInstance(pb.CreateInstanceRequest(instanceId=f"i{number}", name="Orchestrator")))
        hub.answer(hub.episode(f"i{number}"), timer(1, hub.now() + 10**12))
        hub.ask(hub.hub.RaiseEvent(pb.RaiseEventRequest(instanceId=f"i{number}", name="Go")))
        hub.answer(hub.episode(f"i{number}"), end())
    assert not hub.hub._alarm._calls
    assert len(hub.hub._alarm._due) <= 64


def test_a_worker_gets_as_much_as_it_takes_and_the_rest_in_its_order(hub: ControlledHub) -> None:
    hub.ask(hub.hub.StartInstance(pb.CreateInstanceRequest(instanceId="x", name="Orchestrator")))
    hub.answer(hub.episode("x"), *(activity(task) for task in range(1, 7)))
    done: list[int] = []
    while items := hub.of_kind("activityRequest"):
        assert len(items) == min(2, 6 - len(done))
        done.append(items[0].activityRequest.taskId)
        hub.finish(items[0])
    assert done == [1, 2, 3, 4, 5, 6]


def test_what_the_only_worker_declines_comes_again_after_a_while(hub: ControlledHub) -> None:
    hub.ask(hub.hub.StartInstance(pb.CreateInstanceRequest(instanceId="x", name="Orchestrator")))
    token = hub.episode("x").completionToken
    hub.items.clear()
    hub.hub.work.decline(token)
    hub.idle()
    assert not hub.items
    hub.advance(DECLINED_SECONDS)
    assert hub.episode("x").completionToken != token
