"""durabletask's in-memory hub, mended.

It ships with the SDK for short tests, and is sound where it counts; ``InMemoryHub`` repairs, through overrides only,
what an app would notice:

- it listened on every interface, on a port chosen before it was known to be free, with ten threads, and every
  client that waits for an orchestration holds one of them;
- an event that came while its orchestrator ran waited for the next poll, 100 ms later, and held up other instances;
- a history of thousands of events was replayed for every single one that came;
- a completion that was sent twice could undo the dispatch that came after it;
- a sub-orchestration that ran longer than 30 seconds never reported back to its parent, and a failed one lost the
  type of its error;
- a sub-orchestration did not know its parent, which ``call_http`` of the SDK insists on;
- timers and activities of an earlier generation (before ``continue_as_new``) reported to the present one;
- a start time in the future was ignored, a finished instance id could not be used again, and trace contexts and
  most timestamps were dropped.
"""

# ruff: noqa: N802 - the methods of the gRPC service keep their names

import time
from collections.abc import Callable, Iterator
from concurrent import futures
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs
import grpc
from durabletask.internal import helpers
from durabletask.testing.in_memory_backend import InMemoryOrchestrationBackend, OrchestrationInstance
from google.protobuf import timestamp_pb2

from devhost.alarm import Alarm
from devhost.hub_client import UNLIMITED_MESSAGES

HUB_THREADS = 256
"""Every ``WaitForInstance*`` call of a client holds one thread for as long as it waits."""

_MAX_HISTORY_EVENTS = 1_000_000

# After each replay of a long history its instance rests, so that events gather and are replayed together: replays
# then take a fifth of the time at most.
_LONG_HISTORY_EVENTS = 500
_REST_PER_REPLAY = 4
_LONGEST_REST_SECONDS = 1.0

_FINISHED = (pb.ORCHESTRATION_STATUS_COMPLETED, pb.ORCHESTRATION_STATUS_FAILED, pb.ORCHESTRATION_STATUS_TERMINATED)
_UNFINISHED = (
    pb.ORCHESTRATION_STATUS_PENDING,
    pb.ORCHESTRATION_STATUS_RUNNING,
    pb.ORCHESTRATION_STATUS_SUSPENDED,
)


class _Dispatch(NamedTuple):
    """An orchestrator that runs now."""

    token: str
    began: float


class InMemoryHub(InMemoryOrchestrationBackend):
    """The hub; every override is one of the repairs told above."""

    def __init__(self, *, reuse_unfinished_ids: bool = False) -> None:
        """Makes an empty hub.

        Args:
            reuse_unfinished_ids: Starting an instance id that is still running replaces it: host.json's
                ``overridableExistingInstanceStates`` is ``AnyState``.
        """
        super().__init__(max_history_size=_MAX_HISTORY_EVENTS)
        self._replaceable = _FINISHED + _UNFINISHED if reuse_unfinished_ids else _FINISHED
        self._parents: dict[str, pb.ParentInstanceInfo] = {}
        self._reports: dict[str, list[Callable[[OrchestrationInstance], None]]] = {}
        self._traces: dict[str, pb.TraceContext] = {}
        self._generations: dict[str, int] = {}
        self._first_tokens: dict[str, int] = {}
        self._open_activities: set[tuple[str, int, str]] = set()
        self._dispatches: dict[str, _Dispatch] = {}
        self._resting: set[str] = set()
        self._alarm = Alarm()

    def start(self) -> str:
        self._threads = futures.ThreadPoolExecutor(max_workers=HUB_THREADS, thread_name_prefix="hub")
        server = grpc.server(self._threads, options=UNLIMITED_MESSAGES)
        stubs.add_TaskHubSidecarServiceServicer_to_server(self, server)
        self._port = server.add_insecure_port("127.0.0.1:0")
        self._server = server
        server.start()
        return f"127.0.0.1:{self._port}"

    def stop(self, grace: float | None = None) -> None:
        self._alarm.stop()
        with self._lock:
            for waiter in (w for waiters in self._state_waiters.values() for w in waiters):
                waiter.event.set()
        super().stop(grace)
        self._threads.shutdown(wait=False, cancel_futures=True)

    # Starting: reuse of ids, start in the future, trace of the caller.

    def StartInstance(
        self, request: pb.CreateInstanceRequest, context: grpc.ServicerContext
    ) -> pb.CreateInstanceResponse:
        if not request.orchestrationIdReusePolicy.replaceableStatus:
            request.orchestrationIdReusePolicy.replaceableStatus.extend(self._replaceable)
        with self._lock:
            response = super().StartInstance(request, context)
            instance_id = response.instanceId
            self._forget(instance_id)
            self._first_tokens[instance_id] = self._instances[instance_id].completion_token
            if request.HasField("parentTraceContext"):
                self._traces[instance_id] = request.parentTraceContext
            if request.HasField("scheduledStartTimestamp"):
                self._postpone(instance_id, request.scheduledStartTimestamp.ToDatetime(tzinfo=UTC))
        return response

    def _postpone(self, instance_id: str, start: datetime) -> None:
        if start <= datetime.now(UTC) or instance_id not in self._orchestration_queue_set:
            return
        instance = self._instances[instance_id]
        self._orchestration_queue.remove(instance_id)
        self._orchestration_queue_set.discard(instance_id)

        def begin() -> None:
            with self._lock:
                if self._instances.get(instance_id) is instance:
                    self._enqueue_orchestration(instance_id)

        self._alarm.at(start, begin)

    def _forget(self, instance_id: str) -> None:
        self._parents.pop(instance_id, None)
        self._traces.pop(instance_id, None)
        self._begin_generation(instance_id)

    # Dispatching: what the worker should see in the events.

    def GetWorkItems(self, request: pb.GetWorkItemsRequest, context: grpc.ServicerContext) -> Iterator[pb.WorkItem]:
        for item in super().GetWorkItems(request, context):
            if item.HasField("activityRequest"):
                instance_id = item.activityRequest.orchestrationInstance.instanceId
                self._open_activities.add((instance_id, item.activityRequest.taskId, item.completionToken))
                trace = self._traces.get(instance_id)
                if trace is not None:
                    item.activityRequest.parentTraceContext.CopyFrom(trace)
            elif item.HasField("orchestratorRequest"):
                self._dispatch(item)
            yield item

    def _dispatch(self, item: pb.WorkItem) -> None:
        request = item.orchestratorRequest
        with self._lock:
            self._dispatches[request.instanceId] = _Dispatch(item.completionToken, time.monotonic())
            instance = self._instances.get(request.instanceId)
            # The work item holds copies of the events that become history.
            for event in (*request.newEvents, *(instance.dispatched_events if instance is not None else ())):
                if event.HasField("executionStarted"):
                    self._introduce(request.instanceId, event.executionStarted)

    def _introduce(self, instance_id: str, started: pb.ExecutionStartedEvent) -> None:
        trace, parent = self._traces.get(instance_id), self._parents.get(instance_id)
        if trace is not None:
            started.parentTraceContext.CopyFrom(trace)
        if parent is not None:
            started.parentInstance.CopyFrom(parent)

    def _enqueue_orchestration(self, instance_id: str) -> None:
        instance = self._instances.get(instance_id)
        if instance is not None and instance.pending_events and not instance.pending_events[-1].timestamp.seconds:
            instance.pending_events[-1].timestamp.GetCurrentTime()
        # What comes while the orchestrator runs or rests is picked up when that ends.
        if instance_id not in self._orchestration_in_flight and instance_id not in self._resting:
            super()._enqueue_orchestration(instance_id)

    def CompleteOrchestratorTask(
        self, request: pb.OrchestratorResponse, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        instance_id = request.instanceId
        with self._lock:
            dispatch = self._dispatches.get(instance_id)
            if dispatch is None or dispatch.token != request.completionToken:
                return pb.CompleteTaskResponse()
            del self._dispatches[instance_id]
            # Nothing may be dispatched before it is known whether the instance rests.
            self._resting.add(instance_id)
            try:
                return super().CompleteOrchestratorTask(request, context)
            finally:
                self._after_replay(instance_id, time.monotonic() - dispatch.began)

    def CompleteActivityTask(
        self, request: pb.ActivityResponse, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        activity = (request.instanceId, request.taskId, request.completionToken)
        with self._lock:
            if activity not in self._open_activities:
                return pb.CompleteTaskResponse()
            self._open_activities.discard(activity)
            # Tokens only ever grow: an older one belongs to an earlier generation.
            if int(request.completionToken) < self._first_tokens.get(request.instanceId, 0):
                return pb.CompleteTaskResponse()
            return super().CompleteActivityTask(request, context)

    def _after_replay(self, instance_id: str, took: float) -> None:
        instance = self._instances.get(instance_id)
        if instance is not None:
            self._stamp(instance)
        if instance is not None and len(instance.history) > _LONG_HISTORY_EVENTS:
            rest = min(_REST_PER_REPLAY * took, _LONGEST_REST_SECONDS)
            self._alarm.at(datetime.now(UTC) + timedelta(seconds=rest), lambda: self._wake(instance_id))
        else:
            self._wake(instance_id)

    def _wake(self, instance_id: str) -> None:
        with self._lock:
            self._resting.discard(instance_id)
            instance = self._instances.get(instance_id)
            if instance is not None and instance.pending_events and not self._is_terminal_status(instance.status):
                self._enqueue_orchestration(instance_id)

    def _stamp(self, instance: OrchestrationInstance) -> None:
        now = timestamp_pb2.Timestamp()
        now.GetCurrentTime()
        for event in reversed(instance.history):
            if event.HasField("orchestratorStarted"):
                break
            if not event.timestamp.seconds:
                event.timestamp.CopyFrom(now)

    # Sub-orchestrations and timers, each bound to the generation of the instance that asked for it.

    def _process_complete_orchestration_action(
        self, instance: OrchestrationInstance, complete_action: pb.CompleteOrchestrationAction
    ) -> None:
        if complete_action.orchestrationStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW:
            self._begin_generation(instance.instance_id)
        super()._process_complete_orchestration_action(instance, complete_action)

    def _begin_generation(self, instance_id: str) -> None:
        self._generations[instance_id] = self._generations.get(instance_id, 0) + 1
        self._first_tokens[instance_id] = self._next_completion_token

    def _still_there(self, instance: OrchestrationInstance) -> Callable[[], bool]:
        generation = self._generations.get(instance.instance_id, 0)

        def check() -> bool:
            return (
                self._instances.get(instance.instance_id) is instance
                and self._generations.get(instance.instance_id, 0) == generation
                and not self._is_terminal_status(instance.status)
            )

        return check

    def _deliver(self, instance: OrchestrationInstance, event: pb.HistoryEvent) -> None:
        instance.pending_events.append(event)
        instance.last_updated_at = datetime.now(UTC)
        self._enqueue_orchestration(instance.instance_id)

    def _process_create_timer_action(self, instance: OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        timer_id, fire_at = action.id, action.createTimer.fireAt.ToDatetime(tzinfo=UTC)
        instance.history.append(helpers.new_timer_created_event(timer_id, fire_at))
        if instance.status == pb.ORCHESTRATION_STATUS_PENDING:
            instance.status = pb.ORCHESTRATION_STATUS_RUNNING
        still_there = self._still_there(instance)

        def fire() -> None:
            with self._lock:
                if still_there():
                    self._deliver(instance, helpers.new_timer_fired_event(timer_id, fire_at))

        self._alarm.at(fire_at, fire)

    def _schedule_delayed_entity_operation(self, entity_id: str, event: pb.HistoryEvent, fire_at: datetime) -> None:
        def deliver() -> None:
            with self._lock:
                self._queue_entity_operation(entity_id, event)

        self._alarm.at(fire_at, deliver)

    def _process_create_sub_orchestration_action(
        self, instance: OrchestrationInstance, action: pb.OrchestratorAction
    ) -> None:
        child_id = action.createSubOrchestration.instanceId
        existing = self._instances.get(child_id)
        if existing is None or self._is_terminal_status(existing.status):
            self._forget(child_id)
            self._parents[child_id] = pb.ParentInstanceInfo(
                taskScheduledId=action.id,
                name=helpers.get_string_value(instance.name),
                orchestrationInstance=pb.OrchestrationInstance(instanceId=instance.instance_id),
            )
            if instance.instance_id in self._traces:
                self._traces[child_id] = self._traces[instance.instance_id]
        super()._process_create_sub_orchestration_action(instance, action)

    def _watch_sub_orchestration(self, parent_instance_id: str, sub_instance_id: str, task_id: int) -> None:
        parent, child = self._instances[parent_instance_id], self._instances[sub_instance_id]
        still_there = self._still_there(parent)

        def report(finished: OrchestrationInstance) -> None:
            if still_there():
                self._deliver(parent, _sub_orchestration_result(task_id, finished))

        if self._is_terminal_status(child.status):
            report(child)
        else:
            self._reports.setdefault(sub_instance_id, []).append(report)

    def _notify_waiters(self, instance_id: str) -> None:
        super()._notify_waiters(instance_id)
        instance = self._instances.get(instance_id)
        if instance is not None and self._is_terminal_status(instance.status):
            for report in self._reports.pop(instance_id, ()):
                report(instance)


def _sub_orchestration_result(task_id: int, finished: OrchestrationInstance) -> pb.HistoryEvent:
    if finished.status == pb.ORCHESTRATION_STATUS_COMPLETED:
        return helpers.new_sub_orchestration_completed_event(task_id, finished.output)
    event = helpers.new_sub_orchestration_failed_event(task_id, Exception("Sub-orchestration was terminated"))
    if finished.failure_details is not None:
        event.subOrchestrationInstanceFailed.failureDetails.CopyFrom(finished.failure_details)
    return event
