"""What can come between a decision and its commit: the disk is held, and released by the test."""

from collections.abc import Iterator
from pathlib import Path

import durabletask.internal.orchestrator_service_pb2 as pb
import pytest

from tests.taskhub.controlled import ControlledHub, activity, child, end, rewritten, timer

FAILED = pb.ORCHESTRATION_STATUS_FAILED


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ControlledHub]:
    hub = ControlledHub(tmp_path)
    yield hub
    hub.close()


def start(hub: ControlledHub, instance_id: str) -> None:
    hub.ask(hub.hub.StartInstance(pb.CreateInstanceRequest(instanceId=instance_id, name="Orchestrator")))


def kinds(hub: ControlledHub, instance_id: str) -> list[str | None]:
    return [event.WhichOneof("eventType") for event in hub.history(instance_id)]


def rewind(hub: ControlledHub, instance_id: str) -> None:
    hub.ask(hub.hub.RewindInstance(pb.RewindInstanceRequest(instanceId=instance_id)))
    item = hub.episode(instance_id)
    hub.answer(item, rewritten(item))


def test_a_new_orchestration_under_a_purged_id_gets_no_answer_meant_for_the_earlier(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), activity(1))
    hub.ask(hub.hub.TerminateInstance(pb.TerminateRequest(instanceId="x")))
    hub.answer(hub.episode("x"), end(pb.ORCHESTRATION_STATUS_TERMINATED))
    (earlier,) = hub.of_kind("activityRequest")
    hub.ask(hub.hub.PurgeInstances(pb.PurgeInstancesRequest(instanceId="x")))

    start(hub, "x")
    hub.answer(hub.episode("x"), activity(1))
    hub.finish(earlier, '"of the earlier"')

    assert not hub.of_kind("orchestratorRequest")
    (own,) = hub.of_kind("activityRequest")
    hub.finish(own, '"its own"')
    (*_, answer) = hub.episode("x").orchestratorRequest.newEvents
    assert answer.taskCompleted.result.value == '"its own"'


def test_a_new_parent_under_a_purged_id_gets_no_answer_of_a_child_it_did_not_start(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), child(1, "c"), end())
    hub.ask(hub.hub.PurgeInstances(pb.PurgeInstancesRequest(instanceId="x")))
    hub.crash()
    start(hub, "x")
    hub.answer(hub.episode("x"))
    hub.answer(hub.episode("c"), end())
    assert not hub.of_kind("orchestratorRequest")


def test_the_history_of_a_rewound_orchestration_keeps_its_order_over_a_crash(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), activity(1))
    hub.finish(hub.of_kind("activityRequest")[0])
    hub.answer(hub.episode("x"), activity(2))
    hub.finish(hub.of_kind("activityRequest")[0], failure="no")
    hub.answer(hub.episode("x"), end(FAILED))
    rewind(hub, "x")
    hub.crash()
    hub.answer(hub.episode("x"), activity(2))
    hub.finish(hub.of_kind("activityRequest")[0])
    before = hub.history("x")
    hub.answer(hub.episode("x"), activity(3))
    hub.finish(hub.of_kind("activityRequest")[0])
    hub.answer(hub.episode("x"), end())
    assert hub.history("x")[: len(before)] == before
    assert kinds(hub, "x")[0] == "orchestratorStarted"
    assert kinds(hub, "x")[-1] == "executionCompleted"


def test_what_was_under_way_when_an_orchestration_failed_is_asked_for_again_after_a_rewind(hub: ControlledHub) -> None:
    """Its answer came when nobody waited for it, or is still to come: the rewound orchestrator waits for another."""
    start(hub, "x")
    soon = hub.now() + 1_000_000
    hub.answer(hub.episode("x"), activity(1), activity(2, "Answered"), activity(3, "Open"), timer(4, soon))
    fails, answered, open_ = hub.of_kind("activityRequest")
    hub.finish(fails, failure="no")
    hub.answer(hub.episode("x"), end(FAILED))
    hub.finish(answered)
    hub.advance(2)
    rewind(hub, "x")

    again = (activity(1), activity(2, "Answered"), activity(3, "Open"), timer(4, soon))
    hub.answer(hub.episode("x"), *again)
    hub.finish(open_, '"too late"')
    asked = [item for item in hub.of_kind("activityRequest")]
    assert [item.activityRequest.name for item in asked] == ["Act", "Answered", "Open"]
    for item in asked:
        hub.finish(item)
    new = hub.episode("x").orchestratorRequest.newEvents
    assert [event.WhichOneof("eventType") for event in new] == ["orchestratorStarted", "timerFired"]


@pytest.mark.parametrize("outcome", [pb.ORCHESTRATION_STATUS_COMPLETED, pb.ORCHESTRATION_STATUS_TERMINATED])
def test_a_rewound_parent_hears_of_a_child_that_ended_while_it_had_failed(
    hub: ControlledHub, outcome: pb.OrchestrationStatus
) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), child(1, "c"), activity(2))
    hub.finish(hub.of_kind("activityRequest")[0], failure="no")
    hub.answer(hub.episode("x"), end(FAILED))
    hub.answer(hub.episode("c"), end(outcome, '"of the child"'))
    rewind(hub, "x")
    answers = [e for e in hub.episode("x").orchestratorRequest.newEvents if "subOrch" in str(e.WhichOneof("eventType"))]
    assert len(answers) == 1
    if outcome == pb.ORCHESTRATION_STATUS_COMPLETED:
        assert answers[0].subOrchestrationInstanceCompleted.result.value == '"of the child"'
    else:
        assert answers[0].subOrchestrationInstanceFailed.failureDetails.errorType == "Terminated"


def test_a_rewound_parent_hears_of_a_child_that_still_ran(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), child(1, "c"), activity(2))
    hub.finish(hub.of_kind("activityRequest")[0], failure="no")
    hub.answer(hub.episode("x"), end(FAILED))
    rewind(hub, "x")
    hub.answer(hub.episode("x"), activity(2))
    hub.crash()
    hub.answer(hub.episode("c"), end(result='"of the child"'))
    (*_, answer) = hub.episode("x").orchestratorRequest.newEvents
    assert answer.subOrchestrationInstanceCompleted.result.value == '"of the child"'
