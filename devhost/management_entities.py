"""The part of the management API that is about entities."""

import json
import uuid

import durabletask.internal.orchestrator_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devhost.management_json import entity_document, payload, problem
from devhost.query import flag, moment, whole
from devhost.taskhub.service import TaskHub

_EMPTY_KEY = "$"
"""Stands for the empty entity key, which no path could hold."""


class EntityHandlers:
    """Reads, lists and signals entities."""

    def __init__(self, hub: TaskHub) -> None:
        self._hub = hub

    async def read(self, request: Request) -> Response:
        """``GET entities/{name}/{key}``: the state of an entity."""
        found = await self._hub.GetEntity(pb.GetEntityRequest(instanceId=_entity_id(request), includeState=True))
        # A deleted entity may linger in the hub, but without a state.
        if not found.exists or not found.entity.HasField("serializedState"):
            return Response(status_code=404)
        return JSONResponse(payload(found.entity, "serializedState"))

    async def signal(self, request: Request) -> Response:
        """``POST`` or ``DELETE entities/{name}/{key}``: an operation that nobody waits for."""
        operation = "delete" if request.method == "DELETE" else request.query_params.get("op", "")
        signal = pb.SignalEntityRequest(instanceId=_entity_id(request), name=operation, requestId=str(uuid.uuid4()))
        body = (await request.body()).decode()
        if body:
            content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            try:
                signal.input.value = json.dumps(json.loads(body) if content_type == "application/json" else body)
            except json.JSONDecodeError as error:
                return problem(400, f"Could not parse JSON content: {error}")
        await self._hub.SignalEntity(signal)
        return Response(status_code=202)

    async def list_entities(self, request: Request) -> Response:
        """``GET entities/{name?}``."""
        fetch_state = flag(request, "fetchState")
        query = pb.EntityQuery(includeState=True)
        name = request.path_params.get("name")
        query.instanceIdStartsWith.value = f"@{name.lower()}@" if name else "@"
        if (since := moment(request, "lastOperationTimeFrom")) is not None:
            query.lastModifiedFrom.FromDatetime(since)
        if (until := moment(request, "lastOperationTimeTo")) is not None:
            query.lastModifiedTo.FromDatetime(until)
        if (top := whole(request, "top")) is not None:
            query.pageSize.value = top
        if token := request.headers.get("x-ms-continuation-token"):
            query.continuationToken.value = token
        page = await self._hub.QueryEntities(pb.QueryEntitiesRequest(query=query))
        documents = [
            entity_document(e, fetch_state=fetch_state) for e in page.entities if e.HasField("serializedState")
        ]
        return JSONResponse(documents, headers={"x-ms-continuation-token": page.continuationToken.value})


def _entity_id(request: Request) -> str:
    # Entity names are not case-sensitive; the SDK writes them in lower case.
    key = request.path_params["key"]
    return f"@{request.path_params['name'].lower()}@{'' if key == _EMPTY_KEY else key}"
