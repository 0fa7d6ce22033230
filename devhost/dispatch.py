"""Turns work items of the task hub into invocations, and what they come to into completions.

1. ``start`` tells the hub that work may come, as much at a time as host.json allows; each item gets a task of its own.
2. The task invokes the function and completes the work item. A function that cannot be run at all completes it too,
   with failure details: an instance never hangs for that.
3. ``stop`` takes no more work and gives what is in flight a grace period.
"""

import asyncio
import base64
import logging
from collections.abc import Coroutine, Iterable

import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.entities import EntityInstanceId
from durabletask.internal import helpers

from devhost.config import DurableTaskConfig
from devhost.failures import failed_orchestration, failure_details, not_found
from devhost.protos import TypedData
from devhost.taskhub.service import TaskHub
from devhost.taskhub.work import Kind
from devhost.triggers import client_inputs
from devhost.worker import Function, Outcome, TraceContext, Worker, new_invocation_id

logger = logging.getLogger("host.durable")


class Dispatcher:
    """Runs the app's orchestrators, activities and entities for the task hub."""

    def __init__(
        self, worker: Worker, functions: Iterable[Function], hub: TaskHub, config: DurableTaskConfig, client: str
    ) -> None:
        """Makes a dispatcher that does nothing before ``start``.

        Args:
            worker: Runs the functions.
            functions: All functions of the app.
            hub: The task hub.
            config: Quotas.
            client: What a ``durableClient`` binding hands to an activity that asks for one.
        """
        self._worker = worker
        self._hub = hub
        self._client = client
        self._config = config
        self._orchestrators = _by_name(functions, "orchestrationTrigger", "orchestration")
        self._activities = _by_name(functions, "activityTrigger", "activity")
        self._entities = _by_name(functions, "entityTrigger", "entityName", "entity_name")
        self._in_flight: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def orchestrator_names(self) -> list[str]:
        """Names of the app's orchestrators."""
        return [f.name for f in self._orchestrators.values()]

    def has_orchestrator(self, name: str) -> bool:
        """Whether the app has an orchestrator of that name, in whatever case."""
        return name.lower() in self._orchestrators

    def start(self) -> None:
        """Lets work come."""
        limits = {
            Kind.ORCHESTRATION: self._config.max_concurrent_orchestrators,
            Kind.ACTIVITY: self._config.max_concurrent_activities,
            Kind.ENTITY: self._config.max_concurrent_entities,
        }
        self._hub.work.attach(self, limits)

    async def stop(self, grace: float) -> None:
        """Takes no more work, then waits ``grace`` seconds for what is in flight."""
        self._stopping = True
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=grace)
        for task in self._in_flight:
            task.cancel()

    def accept(self, item: pb.WorkItem) -> None:
        """Begins with a work item."""
        if self._stopping:
            return
        work: Coroutine[None, None, None]
        match item.WhichOneof("request"):
            case "orchestratorRequest":
                work = self._orchestrate(item)
            case "activityRequest":
                work = self._act(item)
            case _:
                work = self._operate(item)
        task = asyncio.create_task(work)
        self._in_flight.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if not task.cancelled() and task.exception() is not None and not self._stopping:
            logger.error("A work item could not be completed", exc_info=task.exception())

    async def _invoke(self, function: Function, data: TypedData, trace: pb.TraceContext) -> Outcome:
        inputs = {function.trigger["name"]: data, **client_inputs(function, self._client)}
        context = TraceContext(trace.traceParent, trace.traceState.value)
        outcome = await self._worker.invoke(function, inputs, context, new_invocation_id())
        if outcome.failure is not None:
            logger.error(
                "Executed '%s' (Failed)\n%s", function.name, outcome.failure.stack_trace or outcome.failure.message
            )
        return outcome

    async def _orchestrate(self, item: pb.WorkItem) -> None:
        request = item.orchestratorRequest
        started = _execution_started(request)
        function = self._orchestrators.get(started.name.lower())
        if function is None:
            details = not_found("Orchestrator", started.name, self.orchestrator_names)
            response = failed_orchestration(request.instanceId, details)
        else:
            outcome = await self._invoke(function, _packed(request), started.parentTraceContext)
            if outcome.failure is not None:
                response = failed_orchestration(request.instanceId, failure_details(outcome.failure))
            else:
                response = pb.OrchestratorResponse.FromString(_unpacked(outcome))
        _report_failed_orchestration(started.name, response)
        response.completionToken = item.completionToken
        await self._hub.CompleteOrchestratorTask(response)

    async def _act(self, item: pb.WorkItem) -> None:
        request = item.activityRequest
        response = pb.ActivityResponse(
            instanceId=request.orchestrationInstance.instanceId,
            taskId=request.taskId,
            completionToken=item.completionToken,
        )
        function = self._activities.get(request.name.lower())
        if function is None:
            known = [f.name for f in self._activities.values()]
            response.failureDetails.CopyFrom(not_found("Activity", request.name, known))
        else:
            # An activity called without input gets null, as in Azure.
            data = TypedData(json=request.input.value or "null")
            outcome = await self._invoke(function, data, request.parentTraceContext)
            if outcome.failure is not None:
                response.failureDetails.CopyFrom(failure_details(outcome.failure))
            else:
                result = outcome.return_value
                response.result.value = str(result.value) if result is not None else "null"
        await self._hub.CompleteActivityTask(response)

    async def _operate(self, item: pb.WorkItem) -> None:
        request, _ = helpers.convert_to_entity_batch_request(item.entityRequestV2)
        name = EntityInstanceId.parse(request.instanceId).entity
        function = self._entities.get(name.lower())
        details: pb.TaskFailureDetails | None = None
        result = pb.EntityBatchResult()
        if function is None:
            details = not_found("Entity", name, [f.name for f in self._entities.values()])
        else:
            outcome = await self._invoke(function, _packed(request), _trace_of(request))
            if outcome.failure is not None:
                details = failure_details(outcome.failure)
            else:
                result = pb.EntityBatchResult.FromString(_unpacked(outcome))
        if details is not None:
            failed = pb.OperationResult(failure=pb.OperationResultFailure(failureDetails=details))
            result = pb.EntityBatchResult(
                results=[failed] * len(request.operations), entityState=request.entityState, failureDetails=details
            )
        for failed_result in (r for r in result.results if r.HasField("failure")):
            logger.error("Entity %s: %s", request.instanceId, _told(failed_result.failure.failureDetails))
        result.completionToken = item.completionToken
        await self._hub.CompleteEntityTask(result)


def _by_name(functions: Iterable[Function], trigger_type: str, *name_settings: str) -> dict[str, Function]:
    """Functions of one trigger type under the names they are called by; Azure ignores their case."""
    named: dict[str, Function] = {}
    for function in functions:
        if function.trigger_type == trigger_type:
            names = [str(function.trigger[s]) for s in name_settings if function.trigger.get(s)]
            named[(names or [function.name])[0].lower()] = function
    return named


def _execution_started(request: pb.OrchestratorRequest) -> pb.ExecutionStartedEvent:
    events = [*request.pastEvents, *request.newEvents]
    return next(e.executionStarted for e in reversed(events) if e.HasField("executionStarted"))


def _trace_of(request: pb.EntityBatchRequest) -> pb.TraceContext:
    return next((o.traceContext for o in request.operations if o.HasField("traceContext")), pb.TraceContext())


def _report_failed_orchestration(name: str, response: pb.OrchestratorResponse) -> None:
    for action in response.actions:
        end = action.completeOrchestration
        if action.HasField("completeOrchestration") and end.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED:
            logger.error("Orchestration '%s' (%s) failed: %s", name, response.instanceId, _told(end.failureDetails))


def _told(details: pb.TaskFailureDetails) -> str:
    return f"{details.errorType}: {details.errorMessage}\n{details.stackTrace.value}".rstrip()


def _packed(request: pb.OrchestratorRequest | pb.EntityBatchRequest) -> TypedData:
    return TypedData(string=base64.b64encode(request.SerializeToString()).decode())


def _unpacked(outcome: Outcome) -> bytes:
    assert outcome.return_value is not None, "the SDK always returns a response"
    return base64.b64decode(str(outcome.return_value.value))
