"""A clock that is set while the hub runs: timers fire once, and no orchestrator sees time go back."""

from collections.abc import Iterator
from pathlib import Path

import durabletask.internal.orchestrator_service_pb2 as pb
import pytest

from devhost.taskhub.alarm import LOOK_SECONDS
from devhost.taskhub.state import MICROSECONDS, microseconds, timestamp
from tests.taskhub.controlled import ControlledHub, activity, end, timer

HOUR = 3600
CONTINUED = pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ControlledHub]:
    hub = ControlledHub(tmp_path)
    yield hub
    hub.close()


def start(hub: ControlledHub, instance_id: str, later: int | None = None) -> None:
    request = pb.CreateInstanceRequest(instanceId=instance_id, name="Orchestrator")
    if later is not None:
        request.scheduledStartTimestamp.CopyFrom(timestamp(hub.now() + later * MICROSECONDS))
    hub.ask(hub.hub.StartInstance(request))


def send(hub: ControlledHub, instance_id: str) -> None:
    hub.ask(hub.hub.RaiseEvent(pb.RaiseEventRequest(instanceId=instance_id, name="Go")))


def times(item: pb.WorkItem) -> list[int]:
    """What the orchestrator was told the time was, in all its episodes."""
    request = item.orchestratorRequest
    events = [*request.pastEvents, *request.newEvents]
    return [microseconds(event.timestamp) for event in events if event.HasField("orchestratorStarted")]


def fired(item: pb.WorkItem) -> list[int]:
    return [e.timerFired.timerId for e in item.orchestratorRequest.newEvents if e.HasField("timerFired")]


def test_a_timer_fires_soon_after_the_clock_is_set_forward_past_it(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), timer(1, hub.now() + HOUR * MICROSECONDS))
    hub.jump(2 * HOUR)
    hub.advance(LOOK_SECONDS)
    assert fired(hub.episode("x")) == [1]


def test_a_timer_waits_for_its_time_when_the_clock_is_set_back_and_fires_once(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), timer(1, hub.now() + 10 * MICROSECONDS))
    hub.jump(-HOUR)
    hub.advance(20)
    assert not hub.items
    hub.advance(HOUR)
    assert fired(hub.episode("x")) == [1]
    hub.answer(hub.episode("x"))
    hub.jump(-HOUR)
    hub.advance(2 * HOUR)
    assert not hub.items


@pytest.mark.parametrize("restarted", [False, True])
def test_a_timer_that_fired_before_the_clock_was_set_back_fires_no_second_time(
    hub: ControlledHub, restarted: bool
) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), timer(1, hub.now() + 10 * MICROSECONDS))
    hub.advance(10)
    item = hub.episode("x")
    assert fired(item) == [1]
    hub.jump(-HOUR)
    hub.answer(item)
    if restarted:
        hub.crash()
    hub.advance(2 * HOUR)
    assert not hub.items
    assert [e.timerFired.timerId for e in hub.history("x") if e.HasField("timerFired")] == [1]


def test_timers_fire_in_the_order_of_their_times_whatever_the_clock_does(hub: ControlledHub) -> None:
    start(hub, "x")
    order = [30, 10, 20, 10, 40]
    hub.answer(
        hub.episode("x"),
        *(timer(task, hub.now() + seconds * MICROSECONDS) for task, seconds in enumerate(order, 1)),
    )
    hub.jump(-5)
    hub.jump(HOUR)
    hub.advance(LOOK_SECONDS)
    assert fired(hub.episode("x")) == [2, 4, 3, 1, 5]


def test_no_orchestrator_sees_time_go_back(hub: ControlledHub) -> None:
    start(hub, "x")
    send(hub, "x")
    hub.answer(hub.episode("x"))
    hub.advance(10 * HOUR)
    send(hub, "x")
    seen: list[int] = []
    for jump, action in ((-HOUR, None), (10, None), (-2 * HOUR, end(CONTINUED)), (-HOUR, None), (-10, None)):
        item = hub.episode("x")
        seen.append(times(item)[-1])
        assert times(item) == sorted(times(item))
        hub.answer(item, *([action] if action is not None else []))
        hub.jump(jump)
        # What the file has is all that the next hub knows.
        hub.crash()
        if action is None:
            send(hub, "x")
    seen.append(times(hub.episode("x"))[-1])
    assert seen == sorted(seen)


def test_a_rewound_orchestrator_sees_no_time_go_back(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), activity(1))
    hub.jump(-HOUR)
    hub.finish(hub.of_kind("activityRequest")[0], failure="no")
    hub.answer(hub.episode("x"), end(pb.ORCHESTRATION_STATUS_FAILED))
    hub.crash()
    hub.ask(hub.hub.RewindInstance(pb.RewindInstanceRequest(instanceId="x")))
    assert times(hub.episode("x")) == sorted(times(hub.episode("x")))


def test_an_orchestration_that_has_begun_does_not_wait_for_its_start_again(hub: ControlledHub) -> None:
    start(hub, "x", later=10)
    assert not hub.items
    hub.advance(10)
    hub.answer(hub.episode("x"), activity(1))
    hub.jump(-HOUR)
    hub.crash()
    hub.finish(hub.of_kind("activityRequest")[0])
    hub.answer(hub.episode("x"), end())
    state = hub.state("x")
    assert state is not None
    assert state.orchestrationStatus == pb.ORCHESTRATION_STATUS_COMPLETED


def test_a_history_keeps_the_order_of_what_happened(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), *(activity(task) for task in (1, 2, 3, 4)))
    for number, item in enumerate(hub.of_kind("activityRequest")):
        hub.jump((-HOUR, HOUR * 3, -HOUR * 2, 5)[number])
        hub.finish(item, str(number))
        hub.answer(hub.episode("x"))
    hub.crash()
    results = [e.taskCompleted.result.value for e in hub.history("x") if e.HasField("taskCompleted")]
    assert results == ["0", "1", "2", "3"]


def test_instances_are_listed_once_each_though_a_later_one_is_dated_earlier(hub: ControlledHub) -> None:
    for number in range(6):
        start(hub, f"i{number}")
        hub.jump(-10)
    query = pb.InstanceQuery(maxInstanceCount=2)
    listed: list[str] = []
    token: str | None = ""
    while token is not None:
        query.continuationToken.value = token
        states, token = hub.hub.queries.instances(query)
        listed.extend(state.instanceId for state in states)
    assert listed == [f"i{number}" for number in reversed(range(6))]


def test_a_time_outside_the_calendar_harms_nobody_else(hub: ControlledHub) -> None:
    request = pb.CreateInstanceRequest(instanceId="never", name="Orchestrator")
    request.scheduledStartTimestamp.seconds = 2**62
    hub.ask(hub.hub.StartInstance(request))
    start(hub, "x")
    action = timer(1, 0)
    action.createTimer.fireAt.seconds = -(2**62)
    hub.answer(hub.episode("x"), action)
    assert fired(hub.episode("x")) == [1]
