"""A task's trace as text, for a terminal.

It is made from what is stored of the task, not from exported spans: so it needs no exporter and no backend, tells of
tasks that are still running, and knows what a process that was killed had not sent yet. It lacks what is not stored:
requests to a model that failed, and earlier attempts at a tool call.
"""

from datetime import datetime

from perdure.domain.budget import MICRO
from perdure.domain.task import LedgerEntry, Step, TaskRecord
from perdure.telemetry import names, trace_ids
from perdure.telemetry.spans import steps_of

type Line = tuple[str, datetime | None, datetime | None, str]
"""A name, when it began and ended, and what came of it."""


def tree(record: TaskRecord) -> str:
    """Draw a task, its steps, and what each of them did."""
    task, steps = record.task, {step.number: step for step in record.steps}
    rows: list[Line] = [(f"{names.INVOKE_AGENT} {task.agent.name}", task.created_at, task.ended_at, _of_task(record))]
    shown = steps_of(record)
    for number, begun, ended in shown:
        last = number == shown[-1][0]
        calls = [call for call in record.calls if call.step == number]
        rows.append((f"{'└─' if last else '├─'} step {number}", begun, ended, ""))
        below = [*([_of_model(steps[number], record)] if number in steps else []), *map(_of_call, calls)]
        for index, (name, start, end, said) in enumerate(below):
            branch = "└─" if index == len(below) - 1 else "├─"
            rows.append((f"{' ' if last else '│'}  {branch} {name}", start, end, said))
    width = max(len(row[0]) for row in rows)
    head = f"task {task.id}  trace {trace_ids.span_of(task).trace_id:032x}"
    return "\n".join([head, *(_drawn(row, width, task.created_at) for row in rows)])


def _drawn(row: Line, width: int, zero: datetime) -> str:
    name, begun, ended, said = row
    at = f"{(begun - zero).total_seconds():+9.3f} s" if begun else " " * 11
    took = f"{(ended - begun).total_seconds():9.3f} s" if begun and ended else " " * 11
    return f"{name:<{width}} {at} {took}  {said}".rstrip()


def _of_task(record: TaskRecord) -> str:
    task, usage = record.task, record.usage
    ended = f"{task.status}, {task.reason}" if task.reason else task.status
    return _told(ended, _tokens(usage.input_tokens, usage.output_tokens), _usd(record.cost_usd))


def _of_model(step: Step, record: TaskRecord) -> Line:
    price, usage = record.task.agent.price, step.usage
    cost = price.of(usage) / MICRO if price else None
    said = _told(_tokens(usage.input_tokens, usage.output_tokens), _usd(cost))
    return f"{names.CHAT} {step.model}", step.started_at, step.ended_at, said


def _of_call(call: LedgerEntry) -> Line:
    return f"{names.EXECUTE_TOOL} {call.tool}", call.started_at, call.ended_at, call.state


def _tokens(input: int, output: int) -> str:
    return f"{input} + {output} tokens"


def _usd(cost: float | None) -> str:
    return "" if cost is None else f"${cost:.6f}"


def _told(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
