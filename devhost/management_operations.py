"""The part of the management API that starts instances and acts on them."""

import asyncio
import contextlib
import json
import uuid

import durabletask.internal.orchestrator_service_pb2 as pb
import grpc
from google.protobuf.wrappers_pb2 import StringValue
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devhost.dispatch import Dispatcher
from devhost.management_instances import instance_state, status_response
from devhost.management_json import FINISHED, RUNTIME_STATUS, payload, problem
from devhost.management_urls import ManagementUrls
from devhost.query import flag, seconds
from devhost.taskhub.client import Refused
from devhost.taskhub.service import TaskHub

_CREATED_POLL_SECONDS = 10
"""``Retry-After`` of the answer to a start or restart, as in Azure."""


class OperationHandlers:
    """Start, events, terminate, suspend, resume, restart and rewind."""

    def __init__(self, hub: TaskHub, dispatcher: Dispatcher, urls: ManagementUrls) -> None:
        self._hub = hub
        self._dispatcher = dispatcher
        self._urls = urls

    async def start(self, request: Request) -> Response:
        """``POST orchestrators/{name}/{id?}``: starts an instance, and waits for its end if ``timeout`` is given."""
        name = request.path_params["name"]
        if not self._dispatcher.has_orchestrator(name):
            known = ", ".join(self._dispatcher.orchestrator_names) or "none"
            return problem(
                400, f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator. Known: {known}."
            )
        content = await request.body()
        if content and not _is_json(content):
            return problem(400, "Invalid JSON content")
        started = pb.CreateInstanceRequest(
            name=name, instanceId=request.path_params.get("instance_id") or uuid.uuid4().hex
        )
        if content:
            started.input.value = content.decode()
        if "traceparent" in request.headers:
            trace_parent = request.headers["traceparent"]
            started.parentTraceContext.traceParent = trace_parent
            started.parentTraceContext.spanID = "".join(trace_parent.split("-")[2:3])
            started.parentTraceContext.traceState.value = request.headers.get("tracestate", "")
        try:
            created = await self._hub.StartInstance(started)
        except Refused as error:
            return _refused(error, {grpc.StatusCode.ALREADY_EXISTS: 409, grpc.StatusCode.INVALID_ARGUMENT: 400})
        return await self._created(request, created.instanceId)

    async def raise_event(self, request: Request) -> Response:
        """``POST instances/{id}/raiseEvent/{event}``."""
        instance_id = request.path_params["instance_id"]
        if (refusal := await self._refuse_finished(instance_id)) is not None:
            return refusal
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return problem(400, "Only application/json request content is supported")
        content = await request.body()
        if content and not _is_json(content):
            return problem(400, "Invalid JSON content")
        event = pb.RaiseEventRequest(instanceId=instance_id, name=request.path_params["event"])
        event.input.value = content.decode() or "null"
        await self._hub.RaiseEvent(event)
        return Response(status_code=202)

    async def terminate(self, request: Request) -> Response:
        """``POST instances/{id}/terminate``."""
        instance_id = request.path_params["instance_id"]
        if (refusal := await self._refuse_finished(instance_id)) is not None:
            return refusal
        # The reason becomes the output of the instance, and outputs are JSON.
        reason = StringValue(value=json.dumps(request.query_params.get("reason", "")))
        await self._hub.TerminateInstance(pb.TerminateRequest(instanceId=instance_id, output=reason))
        return Response(status_code=202)

    async def suspend(self, request: Request) -> Response:
        """``POST instances/{id}/suspend``."""
        instance_id = request.path_params["instance_id"]
        if (refusal := await self._refuse_finished(instance_id)) is not None:
            return refusal
        await self._hub.SuspendInstance(pb.SuspendRequest(instanceId=instance_id, reason=_reason(request)))
        return Response(status_code=202)

    async def resume(self, request: Request) -> Response:
        """``POST instances/{id}/resume``."""
        instance_id = request.path_params["instance_id"]
        if (refusal := await self._refuse_finished(instance_id)) is not None:
            return refusal
        await self._hub.ResumeInstance(pb.ResumeRequest(instanceId=instance_id, reason=_reason(request)))
        return Response(status_code=202)

    async def restart(self, request: Request) -> Response:
        """``POST instances/{id}/restart``: the same function and input again, under a new id or its own."""
        instance_id = request.path_params["instance_id"]
        if await instance_state(self._hub, instance_id) is None:
            return problem(400, "InstanceId does not match a valid orchestration instance.")
        again = pb.RestartInstanceRequest(
            instanceId=instance_id, restartWithNewInstanceId=flag(request, "restartWithNewInstanceId", default=True)
        )
        try:
            restarted = await self._hub.RestartInstance(again)
        except Refused as error:
            return _refused(error, {grpc.StatusCode.FAILED_PRECONDITION: 409})
        return await self._created(request, restarted.instanceId)

    async def rewind(self, request: Request) -> Response:
        """``POST instances/{id}/rewind``: runs what failed again."""
        instance_id = request.path_params["instance_id"]
        state = await instance_state(self._hub, instance_id)
        if state is None:
            return problem(404, f'No orchestration with instance ID "{instance_id}" found.')
        if state.orchestrationStatus != pb.ORCHESTRATION_STATUS_FAILED:
            status = RUNTIME_STATUS[state.orchestrationStatus]
            return problem(
                412,
                f"This orchestration has status {status}, "
                'but only orchestrations in the "Failed" state can be rewound.',
            )
        try:
            await self._hub.RewindInstance(pb.RewindInstanceRequest(instanceId=instance_id, reason=_reason(request)))
        except Refused as error:
            return _refused(error, {grpc.StatusCode.FAILED_PRECONDITION: 412})
        return Response(status_code=202)

    async def _created(self, request: Request, instance_id: str) -> Response:
        timeout, interval = seconds(request, "timeout"), seconds(request, "pollingInterval")
        if timeout is not None and interval is not None:
            state = await self._wait(instance_id, timeout)
            if state is not None and state.orchestrationStatus == pb.ORCHESTRATION_STATUS_COMPLETED:
                return JSONResponse(payload(state, "output"))
            if state is not None and state.orchestrationStatus in FINISHED:
                return await status_response(self._hub, request, state)
        links = self._urls.of_instance(instance_id, origin=f"{request.url.scheme}://{request.url.netloc}")
        headers = {"Location": links["statusQueryGetUri"], "Retry-After": str(_CREATED_POLL_SECONDS)}
        return JSONResponse(links, 202, headers)

    async def _wait(self, instance_id: str, longest: float) -> pb.OrchestrationState | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._hub.WaitForInstanceCompletion(pb.GetInstanceRequest(instanceId=instance_id))
        return await instance_state(self._hub, instance_id)

    async def _refuse_finished(self, instance_id: str) -> Response | None:
        state = await instance_state(self._hub, instance_id)
        if state is None:
            return Response(status_code=404)
        return Response(status_code=410) if state.orchestrationStatus in FINISHED else None


def _reason(request: Request) -> StringValue:
    return StringValue(value=request.query_params.get("reason", ""))


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _refused(error: Refused, statuses: dict[grpc.StatusCode, int]) -> Response:
    if error.code not in statuses:
        raise error
    return problem(statuses[error.code], str(error))
