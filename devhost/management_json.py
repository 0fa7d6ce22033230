"""The documents of the built-in management API: status, list entries, entities, errors."""

import json
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.entities import EntityInstanceId
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue
from starlette.responses import JSONResponse

RUNTIME_STATUS = {
    pb.ORCHESTRATION_STATUS_RUNNING: "Running",
    pb.ORCHESTRATION_STATUS_COMPLETED: "Completed",
    pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW: "ContinuedAsNew",
    pb.ORCHESTRATION_STATUS_FAILED: "Failed",
    pb.ORCHESTRATION_STATUS_CANCELED: "Canceled",
    pb.ORCHESTRATION_STATUS_TERMINATED: "Terminated",
    pb.ORCHESTRATION_STATUS_PENDING: "Pending",
    pb.ORCHESTRATION_STATUS_SUSPENDED: "Suspended",
}

FINISHED = {
    pb.ORCHESTRATION_STATUS_COMPLETED,
    pb.ORCHESTRATION_STATUS_FAILED,
    pb.ORCHESTRATION_STATUS_CANCELED,
    pb.ORCHESTRATION_STATUS_TERMINATED,
}


def status_document(
    state: pb.OrchestrationState, *, show_input: bool, history: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The status of an instance; ``historyEvents`` is there only if history was asked for."""
    document: dict[str, Any] = {
        "name": state.name,
        "instanceId": state.instanceId,
        "runtimeStatus": RUNTIME_STATUS[state.orchestrationStatus],
        "input": payload(state, "input") if show_input else None,
        "customStatus": payload(state, "customStatus"),
        "output": _output(state),
        "createdTime": _seconds(state.createdTimestamp),
        "lastUpdatedTime": _seconds(state.lastUpdatedTimestamp),
    }
    if history is not None:
        document["historyEvents"] = history
    return document


def entity_document(entity: pb.EntityMetadata, *, fetch_state: bool) -> dict[str, Any]:
    """One entry of the list of entities."""
    entity_id = EntityInstanceId.parse(entity.instanceId)
    return {
        "entityId": {"name": entity_id.entity, "key": entity_id.key},
        "lastOperationTime": _seconds(entity.lastModifiedTime),
        "state": payload(entity, "serializedState") if fetch_state else None,
    }


def problem(status: int, message: str) -> JSONResponse:
    """An error, in the words of ASP.NET's ``HttpError``."""
    return JSONResponse({"Message": message}, status)


def payload(message: Any, field: str) -> Any:
    """The value of a serialized payload: parsed JSON, the text itself if it is none, None if there is no payload."""
    if not message.HasField(field):
        return None
    wrapper: StringValue = getattr(message, field)
    try:
        return json.loads(wrapper.value) if wrapper.value.strip() else ""
    except json.JSONDecodeError:
        # A termination reason, for one, is plain text.
        return wrapper.value


def moment(timestamp: Timestamp) -> str:
    """ISO 8601 in UTC, as precise as the timestamp is."""
    return timestamp.ToJsonString()


def _output(state: pb.OrchestrationState) -> Any:
    if state.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED and state.HasField("failureDetails"):
        return f"{state.failureDetails.errorType}: {state.failureDetails.errorMessage}"
    return payload(state, "output")


def _seconds(timestamp: Timestamp) -> str:
    return timestamp.ToDatetime().strftime("%Y-%m-%dT%H:%M:%SZ")
