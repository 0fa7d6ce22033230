"""The part of the management API that reads and deletes instances."""

from datetime import UTC, datetime
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devhost.history_json import history_documents
from devhost.management_json import FINISHED, RUNTIME_STATUS, problem, status_document
from devhost.query import flag, moment, whole
from devhost.taskhub.service import TaskHub

_POLL_SECONDS = 5
"""``Retry-After`` of the status of an instance that still runs, as in Azure."""

_STATUS_BY_NAME = {name.lower(): value for value, name in RUNTIME_STATUS.items()}


class InstanceHandlers:
    """Status, list and purge of instances."""

    def __init__(self, hub: TaskHub) -> None:
        self._hub = hub

    async def status(self, request: Request) -> Response:
        """``GET instances/{id}``."""
        state = await instance_state(self._hub, request.path_params["instance_id"])
        if state is None:
            return Response(status_code=404)
        return await status_response(self._hub, request, state)

    async def list_instances(self, request: Request) -> Response:
        """``GET instances``: a page of those that match the filters."""
        query = pb.InstanceQuery(fetchInputsAndOutputs=True, runtimeStatus=_statuses(request))
        if prefix := request.query_params.get("instanceIdPrefix"):
            query.instanceIdPrefix.value = prefix
        if (created_from := moment(request, "createdTimeFrom")) is not None:
            query.createdTimeFrom.FromDatetime(created_from)
        if (created_to := moment(request, "createdTimeTo")) is not None:
            query.createdTimeTo.FromDatetime(created_to)
        if (top := whole(request, "top")) is not None:
            query.maxInstanceCount = top
        if token := request.headers.get("x-ms-continuation-token"):
            query.continuationToken.value = token
        page = await self._hub.QueryInstances(pb.QueryInstancesRequest(query=query))
        show_input = flag(request, "showInput", default=True)
        documents = [status_document(state, show_input=show_input) for state in page.orchestrationState]
        return JSONResponse(documents, headers={"x-ms-continuation-token": page.continuationToken.value})

    async def purge(self, request: Request) -> Response:
        """``DELETE instances/{id}``."""
        instance_id = request.path_params["instance_id"]
        state = await instance_state(self._hub, instance_id)
        if state is None:
            return Response(status_code=404)
        if state.orchestrationStatus not in FINISHED:
            return problem(
                412,
                "Only orchestrations in a terminal state can be purged, but the orchestration with instance ID "
                f"{instance_id} has status {RUNTIME_STATUS[state.orchestrationStatus]}",
            )
        purged = await self._hub.PurgeInstances(pb.PurgeInstancesRequest(instanceId=instance_id))
        return JSONResponse({"instancesDeleted": purged.deletedInstanceCount})

    async def purge_many(self, request: Request) -> Response:
        """``DELETE instances``: all finished ones that were created in a period."""
        created_from = moment(request, "createdTimeFrom")
        if created_from is None:
            return problem(400, "Please provide value for 'createdTimeFrom' parameter.")
        purge = pb.PurgeInstanceFilter(runtimeStatus=_statuses(request))
        purge.createdTimeFrom.FromDatetime(created_from)
        purge.createdTimeTo.FromDatetime(moment(request, "createdTimeTo") or datetime.now(UTC))
        purged = await self._hub.PurgeInstances(pb.PurgeInstancesRequest(purgeInstanceFilter=purge))
        if not purged.deletedInstanceCount:
            return Response(status_code=404)
        return JSONResponse({"instancesDeleted": purged.deletedInstanceCount})


async def instance_state(hub: TaskHub, instance_id: str) -> pb.OrchestrationState | None:
    """State of an instance with its payloads, or None if there is none of that id."""
    found = await hub.GetInstance(pb.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=True))
    return found.orchestrationState if found.exists else None


async def status_response(hub: TaskHub, request: Request, state: pb.OrchestrationState) -> Response:
    """The answer to a status query: 202 while the instance runs, 200 once it is over."""
    show_input = flag(request, "showInput", default=True)
    history = None
    if flag(request, "showHistory") and state.orchestrationStatus != pb.ORCHESTRATION_STATUS_PENDING:
        chunks = hub.StreamInstanceHistory(pb.StreamInstanceHistoryRequest(instanceId=state.instanceId))
        events = [event async for chunk in chunks for event in chunk.events]
        show_output = flag(request, "showHistoryOutput")
        history = history_documents(events, show_input=show_input, show_output=show_output)
    document = status_document(state, show_input=show_input, history=history)
    if state.orchestrationStatus not in FINISHED:
        headers = {"Location": str(request.url), "Retry-After": str(_POLL_SECONDS)}
        return JSONResponse(document, 202, headers)
    failed = state.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED
    return JSONResponse(document, 500 if failed and flag(request, "returnInternalServerErrorOnFailure") else 200)


def _statuses(request: Request) -> list[Any]:
    names = ",".join(request.query_params.getlist("runtimeStatus")).split(",")
    return [_STATUS_BY_NAME[n.strip().lower()] for n in names if n.strip().lower() in _STATUS_BY_NAME]
