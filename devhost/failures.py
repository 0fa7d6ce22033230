"""Failure details of activities and orchestrations, worded as the Durable extension words them in Azure.

The worker reports an exception as one line, ``"TypeName: text"``; the extension splits it into error type and error
message (``OutOfProcMiddleware.TrySplitExceptionTypeFromMessage``) and so does this module. That is what
``TaskFailedError.details`` shows to an orchestrator, and what a retry policy sees.
"""

import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.internal import helpers

from devhost.worker import Failure


def failure_details(failure: Failure) -> pb.TaskFailureDetails:
    """Failure details of an exception that a function raised."""
    error_type, found, message = failure.message.partition(": ")
    if not found:
        error_type, message = "(unknown)", failure.message
    # The extension keeps the first line only. A hub may take a failure without a message for a success.
    message = message.splitlines()[0].rstrip() if message.strip() else error_type
    return pb.TaskFailureDetails(
        errorType=error_type.rstrip(),
        errorMessage=message,
        stackTrace=helpers.get_string_value(failure.stack_trace),
    )


def not_found(kind: str, name: str, known: list[str]) -> pb.TaskFailureDetails:
    """Failure details of a call to a function that the app does not have; a retry cannot help."""
    listed = ", ".join(sorted(known)) or "none"
    return pb.TaskFailureDetails(
        errorType=f"{kind}FunctionNotFound",
        errorMessage=f"The app has no {kind.lower()} function named '{name}'. It has: {listed}.",
        isNonRetriable=True,
    )


def failed_orchestration(instance_id: str, details: pb.TaskFailureDetails) -> pb.OrchestratorResponse:
    """The answer that ends an orchestration whose function could not be run at all."""
    action = helpers.new_complete_orchestration_action(-1, pb.ORCHESTRATION_STATUS_FAILED, "", details)
    return pb.OrchestratorResponse(instanceId=instance_id, actions=[action])
