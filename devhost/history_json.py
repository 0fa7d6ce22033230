"""The ``historyEvents`` of an instance status.

Shaped as the Durable extension shapes them (``DurableClient.GetDurableOrchestrationStatusAsync``): a scheduled task
and its result become one event, which tells both times; bookkeeping events and event ids are left out.
"""

from collections.abc import Iterable
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb

from devhost.management_json import RUNTIME_STATUS, moment, payload

_RESULTS = {
    "taskCompleted": "TaskCompleted",
    "taskFailed": "TaskFailed",
    "subOrchestrationInstanceCompleted": "SubOrchestrationInstanceCompleted",
    "subOrchestrationInstanceFailed": "SubOrchestrationInstanceFailed",
}
_SCHEDULED = ("taskScheduled", "subOrchestrationInstanceCreated")
_BOOKKEEPING = ("orchestratorStarted", "orchestratorCompleted")


def history_documents(
    events: Iterable[pb.HistoryEvent], *, show_input: bool, show_output: bool
) -> list[dict[str, Any]]:
    """The history of one instance, oldest event first.

    Args:
        events: The whole history.
        show_input: Keep the inputs of tasks and the data of events.
        show_output: Keep the results of tasks and of the orchestration.
    """
    documents: list[dict[str, Any] | None] = []
    scheduled: dict[int, tuple[int, dict[str, Any]]] = {}
    for event in events:
        kind = event.WhichOneof("eventType")
        if kind is None or kind in _BOOKKEEPING:
            continue
        detail = getattr(event, kind)
        document: dict[str, Any] = {
            "EventType": kind[0].upper() + kind[1:],
            "Timestamp": moment(event.timestamp),
            **_fields(kind, detail),
        }
        if kind in _SCHEDULED:
            scheduled[event.eventId] = (len(documents), document)
        elif kind in _RESULTS and detail.taskScheduledId in scheduled:
            index, begun = scheduled[detail.taskScheduledId]
            documents[index] = None
            document |= {"ScheduledTime": begun["Timestamp"], "FunctionName": begun["Name"]}
            if "Input" in begun:
                document["Input"] = begun["Input"]
        documents.append(document)
    hidden = {name for name, shown in (("Input", show_input), ("Result", show_output)) if not shown}
    return [{k: v for k, v in d.items() if k not in hidden} for d in documents if d is not None]


def _fields(kind: str, detail: Any) -> dict[str, Any]:
    match kind:
        case "executionStarted":
            return {"FunctionName": detail.name, "Input": payload(detail, "input")}
        case "executionCompleted":
            status = {
                "OrchestrationStatus": RUNTIME_STATUS[detail.orchestrationStatus],
                "Result": payload(detail, "result"),
            }
            return status | _failure(detail)
        case "executionTerminated" | "executionSuspended" | "executionResumed":
            return {"Reason": payload(detail, "input")}
        case "taskScheduled":
            return {"Name": detail.name, "Input": payload(detail, "input")}
        case "subOrchestrationInstanceCreated":
            return {"Name": detail.name, "InstanceId": detail.instanceId, "Input": payload(detail, "input")}
        case "taskCompleted" | "subOrchestrationInstanceCompleted":
            return {"Result": payload(detail, "result")}
        case "taskFailed" | "subOrchestrationInstanceFailed":
            return _failure(detail)
        case "timerCreated" | "timerFired":
            return {"FireAt": moment(detail.fireAt)}
        case "eventRaised":
            return {"Name": detail.name, "Input": payload(detail, "input")}
        case "eventSent":
            return {"Name": detail.name, "InstanceId": detail.instanceId, "Input": payload(detail, "input")}
        case "entityOperationSignaled" | "entityOperationCalled":
            return {
                "Name": detail.operation,
                "InstanceId": detail.targetInstanceId.value,
                "Input": payload(detail, "input"),
            }
        case "entityOperationCompleted":
            return {"Result": payload(detail, "output")}
        case "entityOperationFailed":
            return _failure(detail)
        case _:
            return {}


def _failure(detail: Any) -> dict[str, Any]:
    if not detail.HasField("failureDetails"):
        return {}
    return {"Reason": detail.failureDetails.errorMessage, "FailureDetails": _failure_details(detail.failureDetails)}


def _failure_details(details: pb.TaskFailureDetails) -> dict[str, Any]:
    return {
        "ErrorType": details.errorType,
        "ErrorMessage": details.errorMessage,
        "StackTrace": details.stackTrace.value if details.HasField("stackTrace") else None,
        "InnerFailure": _failure_details(details.innerFailure) if details.HasField("innerFailure") else None,
        "IsNonRetriable": details.isNonRetriable,
    }
