"""The stored form of tasks, steps and tool calls, and the way back.

The fields of a document are those of the dataclass; `type` says which one it is. A field that a later version adds has
a default, so that documents of an earlier one can still be read.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from perdure.domain.messages import Message, ToolSpec
from perdure.domain.task import LedgerEntry, Step, Task, TaskRecord

type Body = dict[str, Any]

TASK = "task"
STEP = "step"
CALL = "toolCall"
CONTEXT = "context"
TOOLS = "tools"
DELTA = "delta"

TOP = "top"
"""The level of tasks that a person started."""

DELTA_SECONDS = 24 * 3600
"""What a step that was cut short leaves behind of its text is gone after a day."""

_task, _step, _call = TypeAdapter(Task), TypeAdapter(Step), TypeAdapter(LedgerEntry)
_messages = TypeAdapter(tuple[Message, ...])
_tools = TypeAdapter(tuple[ToolSpec, ...])


def step_document_id(number: int) -> str:
    return f"step-{number:05}"


def call_document_id(step: int, index: int) -> str:
    return f"call-{step:05}-{index:05}"


def delta_document_id(step: int) -> str:
    return f"delta-{step:05}"


def from_delta(step: int, attempt: str, text: str) -> Body:
    fields = {"step": step, "attempt": attempt, "text": text, "ttl": DELTA_SECONDS}
    return {"id": delta_document_id(step), "type": DELTA, **fields}


def from_task(task: Task) -> Body:
    # As text: a database that keeps numbers as IEEE 754 doubles would change the large ones.
    context = None if task.context is None else json.dumps(task.context, ensure_ascii=False)
    level = TOP if task.origin is None else "asked"
    return {**_task.dump_python(task, mode="json"), "context": context, "type": TASK, "level": level}


def to_task(body: Body) -> Task:
    context = None if body["context"] is None else json.loads(body["context"])
    return _task.validate_python({**body, "context": context})


def from_step(step: Step) -> Body:
    return {**_step.dump_python(step, mode="json"), "id": step_document_id(step.number), "type": STEP}


def to_step(body: Body) -> Step:
    return _step.validate_python(body)


def from_call(call: LedgerEntry) -> Body:
    return {**_call.dump_python(call, mode="json"), "id": call_document_id(call.step, call.index), "type": CALL}


def to_call(body: Body) -> LedgerEntry:
    return _call.validate_python(body)


def from_context(messages: Iterable[Message]) -> Body:
    return {"id": CONTEXT, "type": CONTEXT, "messages": _messages.dump_python(tuple(messages), mode="json")}


def from_tools(tools: Iterable[ToolSpec]) -> Body:
    # As text: a schema may hold large numbers, and names that a database keeps for itself.
    return {"id": TOOLS, "type": TOOLS, "tools": _tools.dump_json(tuple(tools)).decode()}


def to_record(bodies: Iterable[Body]) -> TaskRecord | None:
    """Put a task together from its documents in any order; None when the task itself is not among them.

    Documents of a type that only a later version knows are passed over.
    """
    by_type: dict[str, list[Body]] = {}
    for body in bodies:
        by_type.setdefault(body["type"], []).append(body)
    if TASK not in by_type:
        return None
    return TaskRecord(
        to_task(by_type[TASK][0]),
        tuple(sorted(map(to_step, by_type.get(STEP, ())), key=lambda step: step.number)),
        _answered(sorted(map(to_call, by_type.get(CALL, ())), key=lambda call: (call.step, call.index))),
        next((_messages.validate_python(body["messages"]) for body in by_type.get(CONTEXT, ())), ()),
        next((_tools.validate_json(body["tools"]) for body in by_type.get(TOOLS, ())), ()),
    )


def _answered(calls: Iterable[LedgerEntry]) -> tuple[LedgerEntry, ...]:
    """Give each call that repeats an earlier one the outcome of that."""
    answered: dict[tuple[int, int], LedgerEntry] = {}
    for call in calls:
        if call.same_as is not None:
            first = answered[call.step, call.same_as]
            # What another agent used for it is counted once.
            call = replace(first, index=call.index, arguments=call.arguments, same_as=call.same_as, bill=None)
        answered[call.step, call.index] = call
    return tuple(answered.values())
