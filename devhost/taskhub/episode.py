"""What an orchestrator decided in one episode, as one batch of writes.

1. The events it was given and those its actions make become history.
2. Each action is carried out: activities, timers, sub-orchestrations, events, entity messages.
3. The orchestration goes on, ends, continues as new, or is rewound.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from google.protobuf.wrappers_pb2 import StringValue

from devhost.taskhub.activities import Activities
from devhost.taskhub.entities import Entities
from devhost.taskhub.orchestrations import Orchestrations
from devhost.taskhub.post import ENTITY, Post
from devhost.taskhub.state import Batch, Instance, Parent, microseconds, now, timestamp

_CONTINUED = pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW


class Episodes:
    """Carries out what orchestrators decide.

    Args:
        find: An orchestration by its id, whether it has ended or not.
    """

    def __init__(
        self,
        orchestrations: Orchestrations,
        activities: Activities,
        entities: Entities,
        post: Post,
        find: Callable[[str], Instance | None],
    ) -> None:
        self._orchestrations = orchestrations
        self._activities = activities
        self._entities = entities
        self._post = post
        self._find = find

    def complete(self, instance: Instance, response: pb.OrchestratorResponse) -> Batch:
        """Ends the running episode of an orchestration.

        Returns:
            Everything that follows from it, to be written.
        """
        batch = Batch()
        received = instance.received or []
        events = self._orchestrations.new_events(instance)
        instance.received = instance.start_at = None
        batch.writes.extend(("DELETE FROM messages WHERE seq = ?", (message.seq,)) for message in received)
        instance.status = _status_after(instance.status, events)
        custom_status = response.customStatus.value if response.HasField("customStatus") else None
        batch.add(
            "UPDATE instances SET status = ?, updated = ?, custom_status = ? WHERE id = ?",
            instance.status,
            max(now(), instance.clock),
            custom_status,
            instance.id,
        )
        end: pb.CompleteOrchestrationAction | None = None
        rewound: pb.RewindOrchestrationAction | None = None
        for action in response.actions:
            match action.WhichOneof("orchestratorActionType"):
                case "completeOrchestration":
                    end = action.completeOrchestration
                case "rewindOrchestration":
                    rewound = action.rewindOrchestration
                case _:
                    events.extend(self._carry_out(batch, instance, action))
        if rewound is not None:
            self._rewind(batch, instance, list(rewound.newHistory))
        elif end is not None and end.orchestrationStatus == _CONTINUED:
            self._continue_as_new(batch, instance, end)
        else:
            events.append(_event(orchestratorCompleted=pb.OrchestratorCompletedEvent()))
            if end is not None:
                events.append(self._finish(batch, instance, end, events))
            self._add_history(batch, instance, events)
        self._settle(batch, instance)
        return batch

    def end(self, batch: Batch, instance: Instance, end: pb.CompleteOrchestrationAction) -> None:
        """Ends an orchestration that has not begun, without its orchestrator."""
        self._add_history(batch, instance, [self._finish(batch, instance, end, [])])
        self._settle(batch, instance)

    def _settle(self, batch: Batch, instance: Instance) -> None:
        instance.unwritten += 1
        batch.then.append(partial(self._orchestrations.let_go, instance))

    def _add_history(self, batch: Batch, instance: Instance, events: list[pb.HistoryEvent]) -> None:
        chunk = pb.HistoryChunk(events=events)
        if instance.history is not None:
            instance.history.MergeFrom(chunk)
        batch.add(
            "INSERT INTO history (instance, execution, episode, events) VALUES (?, ?, ?, ?)",
            instance.id,
            instance.execution,
            instance.episodes,
            chunk.SerializeToString(),
        )
        instance.episodes += 1

    def _carry_out(self, batch: Batch, instance: Instance, action: pb.OrchestratorAction) -> list[pb.HistoryEvent]:
        """Carries out an action; the events by which the orchestrator finds it again when it is replayed."""
        match action.WhichOneof("orchestratorActionType"):
            case "scheduleTask":
                event = self._activities.schedule(batch, instance, action)
            case "createTimer":
                due = microseconds(action.createTimer.fireAt)
                fired = pb.TimerFiredEvent(timerId=action.id, fireAt=action.createTimer.fireAt)
                timer = pb.HistoryEvent(timerFired=fired)
                message = self._post.send(batch, instance.id, timer, execution=instance.execution, due=due)
                if message is not None and not (instance.inbox and instance.inbox[-1] is message):
                    instance.timers.add(message.seq)
                event = _event(timerCreated=pb.TimerCreatedEvent(fireAt=action.createTimer.fireAt))
            case "createSubOrchestration":
                event = self._call(batch, instance, action)
            case "sendEvent":
                sent = action.sendEvent
                data = sent.data if sent.HasField("data") else None
                raised = pb.HistoryEvent(eventRaised=pb.EventRaisedEvent(name=sent.name, input=data))
                if not sent.instance.instanceId.startswith(ENTITY):
                    self._post.send(batch, sent.instance.instanceId, raised)
                event = _event(
                    eventSent=pb.EventSentEvent(instanceId=sent.instance.instanceId, name=sent.name, input=data)
                )
            case "sendEntityMessage":
                event = self._entities.send(batch, instance, action.sendEntityMessage)
            case "terminateOrchestration":
                stop = action.terminateOrchestration
                terminated = pb.ExecutionTerminatedEvent(input=stop.reason, recurse=stop.recurse)
                self.terminate(batch, stop.instanceId, terminated)
                return []
            case other:
                raise ValueError(f"an orchestrator cannot ask for {other}")
        event.eventId = action.id
        return [event]

    def _call(self, batch: Batch, instance: Instance, action: pb.OrchestratorAction) -> pb.HistoryEvent:
        call = action.createSubOrchestration
        self._begin_child(batch, instance, action.id, call, call.parentTraceContext)
        return _event(
            subOrchestrationInstanceCreated=pb.SubOrchestrationInstanceCreatedEvent(
                instanceId=call.instanceId,
                name=call.name,
                version=call.version if call.HasField("version") else None,
                input=call.input if call.HasField("input") else None,
                parentTraceContext=call.parentTraceContext if call.HasField("parentTraceContext") else None,
                tags=call.tags,
            )
        )

    def _begin_child(
        self,
        batch: Batch,
        instance: Instance,
        task: int,
        call: pb.CreateSubOrchestrationAction | pb.SubOrchestrationInstanceCreatedEvent,
        trace: pb.TraceContext,
    ) -> None:
        if call.instanceId.startswith(ENTITY):
            self._refuse_child(batch, instance, task, "InvalidId", "The id of an orchestration cannot begin with '@'.")
            return
        if self._orchestrations.get(call.instanceId) is not None:
            told = f"An orchestration with the id '{call.instanceId}' is running already."
            self._refuse_child(batch, instance, task, "OrchestrationAlreadyExists", told)
            return
        child = Instance(
            call.instanceId,
            call.name,
            created=now(),
            execution=self._post.number(),
            version=call.version.value if call.HasField("version") else instance.version,
            trace=trace if trace.traceParent else instance.trace,
            tags=dict(call.tags),
            parent=Parent(instance.id, instance.execution, task, instance.name),
        )
        self._orchestrations.begin(batch, child, call.input if call.HasField("input") else None)

    def _refuse_child(self, batch: Batch, instance: Instance, task: int, error: str, told: str) -> None:
        details = pb.TaskFailureDetails(errorType=error, errorMessage=told)
        failed = pb.SubOrchestrationInstanceFailedEvent(taskScheduledId=task, failureDetails=details)
        event = pb.HistoryEvent(subOrchestrationInstanceFailed=failed)
        self._post.send(batch, instance.id, event, execution=instance.execution)

    def terminate(self, batch: Batch, target: str, terminated: pb.ExecutionTerminatedEvent) -> None:
        """Has an orchestration end, at its next episode; at once if it has not begun."""
        instance = self._orchestrations.get(target)
        if instance is None:
            return
        if instance.start_at is not None and instance.start_at > now():
            end = pb.CompleteOrchestrationAction(orchestrationStatus=pb.ORCHESTRATION_STATUS_TERMINATED)
            end.result.CopyFrom(terminated.input)
            self.end(batch, instance, end)
        else:
            self._post.send(batch, target, pb.HistoryEvent(executionTerminated=terminated))

    def _finish(
        self, batch: Batch, instance: Instance, end: pb.CompleteOrchestrationAction, events: list[pb.HistoryEvent]
    ) -> pb.HistoryEvent:
        instance.status = end.orchestrationStatus
        instance.ended = True
        instance.inbox.clear()
        self._post.cancel(instance.timers)
        instance.timers.clear()
        self._orchestrations.gone(batch, instance.id)
        failure = end.failureDetails if end.HasField("failureDetails") else None
        output = end.result if end.HasField("result") else None
        batch.add(
            "UPDATE instances SET status = ?, completed = ?, updated = ?, output = ?, failure = ? WHERE id = ?",
            instance.status,
            now(),
            max(now(), instance.clock),
            None if output is None else output.value,
            None if failure is None else failure.SerializeToString(),
            instance.id,
        )
        batch.add("DELETE FROM messages WHERE target = ?", instance.id)
        if (parent := instance.parent) is not None:
            self._post.send(batch, parent.id, _answer_of(parent.task, end), execution=parent.execution)
        if instance.status == pb.ORCHESTRATION_STATUS_TERMINATED:
            ending = next((e.executionTerminated for e in events if e.HasField("executionTerminated")), None)
            if ending is not None and ending.recurse:
                for child in self._orchestrations.children(instance.id):
                    self.terminate(batch, child, ending)
        return _event(
            executionCompleted=pb.ExecutionCompletedEvent(
                orchestrationStatus=end.orchestrationStatus, result=output, failureDetails=failure
            )
        )

    def _continue_as_new(self, batch: Batch, instance: Instance, end: pb.CompleteOrchestrationAction) -> None:
        arrived = [message.event for message in instance.inbox if message.execution is None]
        if instance.status == pb.ORCHESTRATION_STATUS_SUSPENDED:
            arrived.insert(0, pb.HistoryEvent(executionSuspended=pb.ExecutionSuspendedEvent()))
        instance.inbox = []
        instance.execution = self._post.number()
        instance.episodes = 0
        instance.status = pb.ORCHESTRATION_STATUS_PENDING
        instance.history = pb.HistoryChunk()
        instance.open_activities = set()
        if end.HasField("newVersion"):
            instance.version = end.newVersion.value
        if end.tags:
            instance.tags = dict(end.tags)
        # Its timers and the answers to its calls die with the execution; what others sent stays, in its order.
        self._orchestrations.begin(batch, instance, end.result if end.HasField("result") else None)
        for event in (*end.carryoverEvents, *arrived):
            self._post.send(batch, instance.id, event)

    def _rewind(self, batch: Batch, instance: Instance, events: list[pb.HistoryEvent]) -> None:
        instance.execution = self._post.number()
        instance.episodes = 0
        instance.history = pb.HistoryChunk()
        instance.open_activities = set()
        instance.inbox = [message for message in instance.inbox if message.execution is None]
        batch.add("UPDATE instances SET execution = ? WHERE id = ?", instance.execution, instance.id)
        batch.add("DELETE FROM messages WHERE target = ? AND execution IS NOT NULL", instance.id)
        batch.add("DELETE FROM history WHERE instance = ?", instance.id)
        self._add_history(batch, instance, _without_unanswered(events))
        answered = {
            e.subOrchestrationInstanceCompleted.taskScheduledId
            for e in events
            if e.HasField("subOrchestrationInstanceCompleted")
        }
        reason = next((e.executionRewound.reason for e in events if e.HasField("executionRewound")), StringValue())
        for event in events:
            if event.HasField("subOrchestrationInstanceCreated") and event.eventId not in answered:
                self._rewind_child(batch, instance, event, reason)
        # An episode with nothing new schedules again what had failed.
        self._post.send(
            batch, instance.id, pb.HistoryEvent(genericEvent=pb.GenericEvent()), execution=instance.execution
        )

    def _rewind_child(self, batch: Batch, instance: Instance, event: pb.HistoryEvent, reason: StringValue) -> None:
        call = event.subOrchestrationInstanceCreated
        child, parent = (
            self._find(call.instanceId),
            Parent(instance.id, instance.execution, event.eventId, instance.name),
        )
        if child is None or child.parent is None or (child.parent.id, child.parent.task) != (parent.id, parent.task):
            self._begin_child(batch, instance, event.eventId, call, call.parentTraceContext)
            return
        child.parent = parent
        batch.add("UPDATE instances SET parent_execution = ? WHERE id = ?", parent.execution, child.id)
        if child.status == pb.ORCHESTRATION_STATUS_FAILED:
            self.rewind(batch, child, reason)
        elif child.ended:
            # It told its parent when that had failed already.
            end = self._orchestrations.history(child)[-1].executionCompleted
            self._post.send(batch, instance.id, _answer_of(parent.task, end), execution=instance.execution)

    def rewind(self, batch: Batch, instance: Instance, reason: StringValue | None) -> None:
        """Has a failed orchestration run again from where it failed."""
        instance.status = pb.ORCHESTRATION_STATUS_RUNNING
        instance.ended = False
        batch.add(
            "UPDATE instances SET status = ?, completed = NULL, output = NULL, failure = NULL WHERE id = ?",
            instance.status,
            instance.id,
        )
        self._orchestrations.restore(instance)
        self._post.send(batch, instance.id, pb.HistoryEvent(executionRewound=pb.ExecutionRewoundEvent(reason=reason)))


def _without_unanswered(events: list[pb.HistoryEvent]) -> list[pb.HistoryEvent]:
    """The history of a failed orchestration without what was under way at its end: the answer came, or will come, when
    nobody waits for it, so the orchestrator asks again."""
    answered = {e.taskCompleted.taskScheduledId for e in events} | {e.timerFired.timerId for e in events}
    return [
        e for e in events if e.eventId in answered or not (e.HasField("taskScheduled") or e.HasField("timerCreated"))
    ]


def _event(**kind: Any) -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=-1, timestamp=timestamp(now()), **kind)


def _status_after(status: int, events: list[pb.HistoryEvent]) -> int:
    if status == pb.ORCHESTRATION_STATUS_PENDING:
        status = pb.ORCHESTRATION_STATUS_RUNNING
    for event in events:
        if event.HasField("executionSuspended"):
            status = pb.ORCHESTRATION_STATUS_SUSPENDED
        elif event.HasField("executionResumed"):
            status = pb.ORCHESTRATION_STATUS_RUNNING
    return status


def _answer_of(task: int, end: pb.CompleteOrchestrationAction | pb.ExecutionCompletedEvent) -> pb.HistoryEvent:
    if end.orchestrationStatus == pb.ORCHESTRATION_STATUS_COMPLETED:
        result = end.result if end.HasField("result") else None
        completed = pb.SubOrchestrationInstanceCompletedEvent(taskScheduledId=task, result=result)
        return pb.HistoryEvent(subOrchestrationInstanceCompleted=completed)
    details = pb.TaskFailureDetails(errorType="Terminated", errorMessage="Sub-orchestration was terminated")
    if end.HasField("failureDetails"):
        details = end.failureDetails
    failed = pb.SubOrchestrationInstanceFailedEvent(taskScheduledId=task, failureDetails=details)
    return pb.HistoryEvent(subOrchestrationInstanceFailed=failed)
