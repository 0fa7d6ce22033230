"""What can come between a decision and its commit: the disk is held, and released by the test."""

from collections.abc import Iterator
from pathlib import Path

import durabletask.internal.orchestrator_service_pb2 as pb
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from devhost.taskhub.client import Refused
from devhost.taskhub.state import timestamp
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
    asked = hub.of_kind("activityRequest")
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


def test_nobody_can_rewind_what_is_being_purged(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), end(FAILED))
    hub.disk.held = True
    purged = hub.call(hub.hub.PurgeInstances(pb.PurgeInstancesRequest(instanceId="x")))
    again = hub.call(hub.hub.PurgeInstances(pb.PurgeInstancesRequest(instanceId="x")))
    rewound = hub.call(hub.hub.RewindInstance(pb.RewindInstanceRequest(instanceId="x")))
    hub.commit()
    assert (purged.result().deletedInstanceCount, again.result().deletedInstanceCount) == (1, 0)
    with pytest.raises(Refused, match="not found"):
        rewound.result()
    assert not hub.items


def test_a_suspension_that_follows_a_resumption_at_once_holds(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.ask(hub.hub.SuspendInstance(pb.SuspendRequest(instanceId="x")))
    hub.answer(hub.episode("x"))
    hub.answer(hub.episode("x"))
    hub.detach()
    hub.ask(hub.hub.ResumeInstance(pb.ResumeRequest(instanceId="x")))
    hub.ask(hub.hub.SuspendInstance(pb.SuspendRequest(instanceId="x")))
    hub.attach()
    hub.answer(hub.episode("x"))
    state = hub.state("x")
    assert state is not None
    assert state.orchestrationStatus == pb.ORCHESTRATION_STATUS_SUSPENDED


def test_an_orchestration_that_is_suspended_as_it_continues_as_new_is_suspended(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.detach()
    hub.ask(hub.hub.SuspendInstance(pb.SuspendRequest(instanceId="x")))
    hub.attach()
    hub.answer(hub.episode("x"), end(pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW))
    hub.answer(hub.episode("x"), activity(1))
    state = hub.state("x")
    assert state is not None
    assert state.orchestrationStatus == pb.ORCHESTRATION_STATUS_SUSPENDED


def test_a_sub_orchestration_cannot_have_the_id_of_an_entity(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), child(1, "@counter@a"))
    (*_, answer) = hub.episode("x").orchestratorRequest.newEvents
    assert "cannot begin with '@'" in answer.subOrchestrationInstanceFailed.failureDetails.errorMessage


def signal(hub: ControlledHub, operation: str, entity: str = "@counter@a", due: int | None = None) -> None:
    request = pb.SignalEntityRequest(instanceId=entity, name=operation)
    if due is not None:
        request.scheduledTime.CopyFrom(timestamp(due))
    hub.call(hub.hub.SignalEntity(request))


def performing(hub: ControlledHub) -> pb.WorkItem:
    (item,) = hub.of_kind("entityRequestV2")
    return item


def operation_names(item: pb.WorkItem) -> list[str]:
    requests = item.entityRequestV2.operationRequests
    return [r.entityOperationSignaled.operation or r.entityOperationCalled.operation for r in requests]


def perform(hub: ControlledHub, *actions: pb.OperationAction) -> None:
    """Performs the operations in the worker's hands: the state of the entity is their names."""
    item = performing(hub)
    del hub.items[item.completionToken]
    names = operation_names(item)
    result = pb.EntityBatchResult(
        results=[pb.OperationResult(success=pb.OperationResultSuccess())] * len(names),
        actions=actions,
        completionToken=item.completionToken,
    )
    result.entityState.value = " ".join([*item.entityRequestV2.entityState.value.split(), *names])
    completed = hub.call(hub.hub.CompleteEntityTask(result))
    assert hub.disk.held or completed.result() == pb.CompleteTaskResponse()


def test_an_entity_goes_on_from_its_latest_state_while_that_is_being_written(hub: ControlledHub) -> None:
    signal(hub, "first")
    hub.disk.held = True
    signal(hub, "second")
    perform(hub)
    signal(hub, "third")
    hub.commit_once()
    perform(hub)
    hub.commit_once()
    perform(hub)
    hub.commit()
    entity = hub.hub.queries.entity("@counter@a")
    assert entity is not None
    assert entity.state == "first second third"


def lock(section: str, *entities: str) -> pb.OrchestratorAction:
    request = pb.EntityLockRequestedEvent(criticalSectionId=section, lockSet=entities)
    return pb.OrchestratorAction(id=1, sendEntityMessage=pb.SendEntityMessageAction(entityLockRequested=request))


def test_a_critical_section_waits_for_an_operation_that_was_sent_before_it_but_is_not_written(
    hub: ControlledHub,
) -> None:
    start(hub, "x")
    start(hub, "y")
    signal(hub, "other", "@counter@b")
    hub.disk.held = True
    hub.answer(hub.episode("y"), lock("already under way", "@counter@c"))
    signal(hub, "before", "@counter@a")
    hub.answer(hub.episode("x"), lock("section", "@counter@a"))
    hub.commit_once()
    assert not [i for i in hub.of_kind("orchestratorRequest") if i.orchestratorRequest.instanceId == "x"]
    hub.disk.held = False
    hub.commit()
    del hub.items[next(t for t, i in hub.items.items() if i.entityRequestV2.instanceId == "@counter@b")]
    perform(hub)
    (*_, granted) = hub.episode("x").orchestratorRequest.newEvents
    assert granted.HasField("entityLockGranted")


def test_a_hub_can_be_closed_as_a_critical_section_is_about_to_be_granted(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.disk.held = True
    hub.answer(hub.episode("x"), lock("section", "@counter@a"))
    closed = hub.call(hub.hub.close())
    hub.commit()
    assert closed.done()
    assert hub.failure is None
    hub.crash()
    (*_, granted) = hub.episode("x").orchestratorRequest.newEvents
    assert granted.HasField("entityLockGranted")


def test_an_entity_cannot_start_an_orchestration_with_the_id_of_an_entity_and_goes_on(hub: ControlledHub) -> None:
    signal(hub, "first")
    wrong = pb.StartNewOrchestrationAction(instanceId="@counter@b", name="Orchestrator")
    perform(hub, pb.OperationAction(startNewOrchestration=wrong))
    signal(hub, "second")
    perform(hub)
    entity = hub.hub.queries.entity("@counter@a")
    assert entity is not None
    assert entity.state == "first second"
    assert hub.state("@counter@b") is None
    hub.crash()
    assert not hub.items


def test_a_signal_that_is_not_due_survives_the_purge_of_its_entity(hub: ControlledHub) -> None:
    signal(hub, "first")
    perform(hub)
    signal(hub, "later", due=hub.now() + 5_000_000)
    purged = hub.ask(hub.hub.PurgeInstances(pb.PurgeInstancesRequest(instanceId="@counter@a")))
    assert purged.deletedInstanceCount == 1
    hub.crash()
    hub.advance(6)
    assert operation_names(performing(hub)) == ["later"]
    assert not performing(hub).entityRequestV2.entityState.value


def test_the_end_of_an_orchestration_frees_what_it_asked_for_before_that_was_written(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.disk.held = True
    hub.answer(hub.episode("x"), lock("section", "@counter@a"))
    hub.call(hub.hub.TerminateInstance(pb.TerminateRequest(instanceId="x")))
    hub.answer(hub.episode("x"), end(pb.ORCHESTRATION_STATUS_TERMINATED))
    hub.disk.held = False
    hub.commit()
    signal(hub, "after")
    assert operation_names(performing(hub)) == ["after"]
    hub.crash()
    assert operation_names(performing(hub)) == ["after"]


def test_a_suspended_orchestration_is_not_run_until_it_is_resumed_or_terminated(hub: ControlledHub) -> None:
    start(hub, "x")
    hub.answer(hub.episode("x"), activity(1))
    hub.ask(hub.hub.SuspendInstance(pb.SuspendRequest(instanceId="x")))
    hub.answer(hub.episode("x"))
    hub.finish(hub.of_kind("activityRequest")[0])
    hub.crash()
    assert not hub.items
    hub.ask(hub.hub.ResumeInstance(pb.ResumeRequest(instanceId="x")))
    new = hub.episode("x").orchestratorRequest.newEvents
    assert [e.WhichOneof("eventType") for e in new] == ["orchestratorStarted", "taskCompleted", "executionResumed"]


def test_a_call_from_within_is_performed_as_soon_as_its_critical_section_is_granted(hub: ControlledHub) -> None:
    start(hub, "x")
    signal(hub, "before")
    call = pb.EntityOperationCalledEvent(
        operation="within",
        requestId="1",
        targetInstanceId=StringValue(value="@counter@a"),
        parentInstanceId=StringValue(value="x"),
    )
    called = pb.OrchestratorAction(id=2, sendEntityMessage=pb.SendEntityMessageAction(entityOperationCalled=call))
    hub.answer(hub.episode("x"), lock("section", "@counter@a"), called)
    assert operation_names(performing(hub)) == ["before"]
    perform(hub)
    assert operation_names(performing(hub)) == ["within"]
