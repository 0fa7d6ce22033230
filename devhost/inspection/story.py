"""The history of an orchestration as a reader wants it: what was asked for and what it came to, on one line."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb

from devhost.inspection.waits import long, soon
from devhost.taskhub.state import microseconds

_BOOKKEEPING = ("orchestratorStarted", "orchestratorCompleted", "genericEvent", "historyState")


@dataclass(slots=True)
class Line:
    """One thing that happened.

    Attributes:
        at: When it began.
        what: The kind of thing.
        text: It.
        result: What it came to; "": nothing, or it is open.
        failed: It came to a failure.
        open: It has come to nothing so far.
        took: Until then, in microseconds.
    """

    at: int
    what: str
    text: str
    result: str = ""
    failed: bool = False
    open: bool = False
    took: int | None = None

    def end(self, event: pb.HistoryEvent, result: str, *, failed: bool = False) -> None:
        self.open = False
        self.took = microseconds(event.timestamp) - self.at
        self.result, self.failed = result, failed


def tell(events: Iterable[pb.HistoryEvent], at: int) -> list[Line]:
    """The lines of a history, oldest first.

    Args:
        at: The time of the look.
    """
    lines: list[Line] = []
    asked: dict[int | str, Line] = {}
    for event in events:
        kind = event.WhichOneof("eventType")
        if kind is None or kind in _BOOKKEEPING:
            continue
        detail = getattr(event, kind)
        line = Line(microseconds(event.timestamp), *_begun(kind, detail))
        match kind:
            case "taskScheduled" | "subOrchestrationInstanceCreated":
                line.open = True
                asked[event.eventId] = line
            case "timerCreated":
                due = microseconds(detail.fireAt)
                line.text, line.result, line.open = f"of {long(due - line.at)}", f"due {soon(due - at)}", True
                asked[event.eventId] = line
            case "entityOperationCalled":
                line.open = True
                asked[detail.requestId] = line
            case "entityLockRequested":
                line.open = True
                asked[detail.criticalSectionId] = line
            case _ if (begun := asked.get(_answered(kind, detail))) is not None:
                failed = kind.endswith("Failed")
                begun.end(event, _failure(detail) if failed else _result(kind, detail), failed=failed)
                continue
            case "executionCompleted":
                line.failed = detail.HasField("failureDetails")
                for given_up in (earlier for earlier in lines if earlier.open):
                    given_up.open, given_up.result = False, "given up at the end"
        lines.append(line)
    return lines


def _answered(kind: str, detail: Any) -> int | str:
    match kind:
        case "taskCompleted" | "taskFailed" | "subOrchestrationInstanceCompleted" | "subOrchestrationInstanceFailed":
            return detail.taskScheduledId
        case "timerFired":
            return detail.timerId
        case "entityOperationCompleted" | "entityOperationFailed":
            return detail.requestId
        case "entityLockGranted":
            return detail.criticalSectionId
        case _:
            return ""


def _begun(kind: str, detail: Any) -> tuple[str, str]:
    match kind:
        case "executionStarted":
            return "started", _call(detail.name, detail)
        case "executionCompleted":
            if detail.HasField("failureDetails"):
                return "failed", _failure(detail)
            terminated = detail.orchestrationStatus == pb.ORCHESTRATION_STATUS_TERMINATED
            return "terminated" if terminated else "completed", detail.result.value
        case "executionTerminated" | "executionSuspended" | "executionResumed":
            return {"T": "terminate", "S": "suspended", "R": "resumed"}[kind[9]], detail.input.value
        case "executionRewound":
            return "rewound", detail.reason.value
        case "taskScheduled":
            return "activity", _call(detail.name, detail)
        case "subOrchestrationInstanceCreated":
            return "sub-orchestration", f"{_call(detail.name, detail)} as {detail.instanceId}"
        case "timerCreated":
            return "timer", ""
        case "eventRaised":
            return "event", _call(detail.name, detail)
        case "eventSent":
            return "event sent", f"{_call(detail.name, detail)} to {detail.instanceId}"
        case "entityOperationCalled" | "entityOperationSignaled":
            what = "entity call" if kind == "entityOperationCalled" else "entity signal"
            return what, f"{detail.targetInstanceId.value} {_call(detail.operation, detail)}"
        case "entityLockRequested":
            return "lock", ", ".join(detail.lockSet)
        case "entityUnlockSent":
            return "unlock", detail.targetInstanceId.value
        case _:
            return kind, ""


def _call(name: str, detail: Any) -> str:
    return f"{name}({detail.input.value})"


def _result(kind: str, detail: Any) -> str:
    match kind:
        case "timerFired":
            return "fired"
        case "entityLockGranted":
            return "granted"
        case "entityOperationCompleted":
            return detail.output.value
        case _:
            return detail.result.value


def _failure(detail: Any) -> str:
    return f"{detail.failureDetails.errorType}: {detail.failureDetails.errorMessage}"
