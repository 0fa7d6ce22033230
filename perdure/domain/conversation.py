"""From what is stored of a task to the messages the model sees."""

import json

from perdure.domain.messages import Message
from perdure.domain.output import EMPTY, is_empty
from perdure.domain.task import CallState, LedgerEntry, TaskRecord

NO_RESULT = "Error: The tool did not finish, so there is no result."
"""What the model is told of a call that stayed without an outcome after every attempt."""

UNKNOWN = (
    "This call was interrupted after it started and may or may not have taken effect. "
    "It was not run again; say so instead of assuming either."
)
"""What the model is told of a call that must not run twice and whose end nobody saw."""


def conversation(record: TaskRecord) -> list[Message]:
    """Lay out all that a model sees: instructions, context, earlier turns of the thread, and the task's own turn."""
    task = record.task
    messages = [Message("system", task.agent.instructions)]
    if task.context:
        context = json.dumps(task.context, ensure_ascii=False)
        messages.append(Message("system", f"Context supplied by the caller, as JSON:\n{context}"))
    messages.extend(record.earlier)
    messages.extend(turn(record))
    if record.steps and is_empty(record.steps[-1]):
        messages.append(Message("user", EMPTY))
    return messages


def turn(record: TaskRecord) -> list[Message]:
    """Lay out what the task itself added: the query, then each step that said anything, with its calls' results."""
    messages = [Message("user", record.task.query)]
    results = {(call.step, call.index): _told(call) for call in record.calls}
    for step in record.steps:
        if is_empty(step):
            continue
        messages.append(Message("assistant", step.text, step.calls))
        for index, call in enumerate(step.calls):
            content = results.get((step.number, index), NO_RESULT)
            messages.append(Message("tool", content, tool_call_id=call.id))
    return messages


def _told(call: LedgerEntry) -> str:
    match call.state:
        case CallState.COMMITTED:
            return call.content or ""
        case CallState.DISPATCHED | CallState.UNKNOWN:
            return f"Error: {UNKNOWN}"
        case _:
            return f"Error: {call.content}" if call.content else NO_RESULT
