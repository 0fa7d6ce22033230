"""The spans of a task, and what is measured along with them.

    POST /api/agent/task           the request; a child of whatever trace it came with
    └─ invoke_agent assistant      the task, from its submission to its end
       ├─ step 1                   one turn of its orchestration
       │  ├─ chat gpt-5-mini       one request to the model
       │  └─ execute_tool search   one attempt at a tool call
       └─ step 2 ...

A request to a model and an attempt at a tool call are written when they have happened, by the process they happened
in, so one that failed and its repetition are two spans. The task and its steps are written when the task has ended,
from what is stored of it, by the one attempt whose end counts. Their ids are known long before: see `trace_ids`.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from perdure.domain.budget import MICRO, Call
from perdure.domain.messages import ModelReply, Usage
from perdure.domain.references import CallRef
from perdure.domain.task import CallState, Reason, Task, TaskRecord, TaskStatus
from perdure.redaction import redacted
from perdure.telemetry import metrics, names, trace_ids
from perdure.telemetry.metrics import Attributes

_tracer = trace.get_tracer("perdure")


NO_STEP_AFTER = (Reason.ANSWERED, Reason.EMPTY_REPLY, Reason.STEP_LIMIT)
"""The last step that is recorded is the last one of a task that ends like this."""


class Span:
    """A span that is being made. Text in its attributes goes through the redactor, as log lines do."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def tell(self, attributes: Attributes) -> None:
        """Add attributes."""
        if self._span.is_recording():
            safe = {name: redacted(value) if isinstance(value, str) else value for name, value in attributes.items()}
            self._span.set_attributes(safe)

    def failed(self, error: str) -> None:
        """Mark it as failed by an error of a kind. What an error says is never told: it may quote content."""
        self._span.set_attribute(names.ERROR, error)
        self._span.set_status(Status(StatusCode.ERROR))


@contextmanager
def request(method: str, route: str, traceparent: str | None) -> Generator[Span]:
    """A request that starts something. In Azure the host has a span of its own for it, and ours is below that."""
    within_host = trace.get_current_span().get_span_context().is_valid
    parent = None if within_host or traceparent is None else trace_ids.extracted(traceparent)
    kind = SpanKind.INTERNAL if within_host else SpanKind.SERVER
    with _span(f"{method} {route}", {names.METHOD: method, names.ROUTE: route}, kind, parent) as span:
        yield span


@contextmanager
def part_of(task: Task, step: int | None = None) -> Generator[None]:
    """Let what happens in this block be part of a task or of a step, whose span is written when the task has ended."""
    token = contexts.attach(trace_ids.under(trace_ids.span_of(task, step)))
    try:
        yield
    finally:
        contexts.detach(token)


@dataclass(slots=True)
class ModelCall:
    """A request to a model that is being made.

    Attributes:
        measured: What its metrics are told apart by.
    """

    span: Span
    call: Call
    measured: Attributes

    def answered(self, reply: ModelReply) -> None:
        """Say what came of it."""
        usage, price = reply.usage, self.call.price
        self.measured[names.RESPONSE_MODEL] = reply.model
        self.span.tell({**_tokens(usage), names.RESPONSE_MODEL: reply.model})
        metrics.tokens_used(usage.input_tokens, usage.output_tokens, self.measured)
        if price:
            cost = price.of(usage)
            self.span.tell({names.COST: cost / MICRO})
            whose: Attributes = {names.TENANT: self.call.tenant, names.AGENT: self.call.agent}
            metrics.spent(cost, whose | {names.REQUEST_MODEL: self.call.model})


@contextmanager
def model_call(call: Call, provider: str, max_tokens: int) -> Generator[ModelCall]:
    """A request to a model."""
    measured: Attributes = {
        names.OPERATION: names.CHAT, names.PROVIDER: provider, names.REQUEST_MODEL: call.model,
    }  # fmt: skip
    told: Attributes = measured | {
        names.REQUEST_MAX_TOKENS: max_tokens, names.AGENT: call.agent, names.TENANT: call.tenant,
        names.TASK: call.task, names.STEP: call.step,
    }  # fmt: skip
    begun = time.monotonic()
    try:
        with _span(f"{names.CHAT} {call.model}", told, SpanKind.CLIENT) as span:
            yield ModelCall(span, call, measured)
    except BaseException as error:
        measured[names.ERROR] = type(error).__name__
        raise
    finally:
        metrics.model_called(time.monotonic() - begun, measured)


@dataclass(slots=True)
class ToolAttempt:
    """An attempt at a tool call that is being made."""

    span: Span
    outcome: str = "interrupted"

    def settled(self, state: CallState) -> None:
        """Say what state it left the call in."""
        self.outcome = state
        self.span.tell({names.CALL_STATE: state})
        if state is not CallState.COMMITTED:
            self.span.failed(state)


@contextmanager
def tool_call(task: Task, ref: CallRef, tool: str) -> Generator[ToolAttempt]:
    """An attempt at a tool call."""
    told: Attributes = {
        names.OPERATION: names.EXECUTE_TOOL, names.TOOL: tool, names.TOOL_TYPE: "function",
        names.AGENT: task.agent.name, names.TENANT: task.tenant, names.TASK: task.id, names.STEP: ref.step,
        names.CALL_INDEX: ref.index,
    }  # fmt: skip
    begun, attempt = time.monotonic(), None
    parent = trace_ids.under(trace_ids.span_of(task, ref.step))
    try:
        with _span(f"{names.EXECUTE_TOOL} {tool}", told, SpanKind.INTERNAL, parent) as span:
            attempt = ToolAttempt(span)
            yield attempt
    finally:
        if attempt:
            metrics.tool_called(time.monotonic() - begun, tool, attempt.outcome)


def task_ended(record: TaskRecord) -> None:
    """Write the spans of a task that has ended, and of its steps."""
    task = record.task
    if task.ended_at is None:
        return
    told: Attributes = {
        names.OPERATION: names.INVOKE_AGENT, names.AGENT: task.agent.name, names.REQUEST_MODEL: task.agent.model,
        names.TENANT: task.tenant, names.TASK: task.id, names.STATUS: task.status, names.REASON: task.reason or "",
        names.STEPS: len(record.steps), **_tokens(record.usage),
    }  # fmt: skip
    if task.thread_id:
        told[names.CONVERSATION] = task.thread_id
    if record.cost_usd is not None:
        told[names.COST] = record.cost_usd
    own, error = trace_ids.span_of(task), task.reason if task.status is TaskStatus.FAILED else None
    parent = trace_ids.request_of(task)
    _write(own, parent, f"{names.INVOKE_AGENT} {task.agent.name}", told, task.created_at, task.ended_at, error)
    for number, begun, ended in steps_of(record):
        told = {names.TENANT: task.tenant, names.TASK: task.id, names.STEP: number}
        _write(trace_ids.span_of(task, number), own, f"step {number}", told, begun, ended)


def steps_of(record: TaskRecord) -> list[tuple[int, datetime, datetime]]:
    """When each step of a task began and ended. It begins with the end of the one before: waiting is part of it.

    One that was begun and came to nothing, because the task ended first, is the last of them.
    """
    task, now = record.task, record.task.ended_at or datetime.now(UTC)
    ends = [
        max([step.ended_at, *(call.ended_at or now for call in record.calls if call.step == step.number)])
        for step in record.steps
    ]
    if _is_done(record) and task.reason not in NO_STEP_AFTER:
        ends.append(now)
    begins = [task.created_at, *ends]
    return [(number, begins[number - 1], max(end, begins[number - 1])) for number, end in enumerate(ends, 1)]


def _is_done(record: TaskRecord) -> bool:
    """Whether the last step that is recorded asked for calls which all have an outcome, so that the next one began."""
    last = record.steps[-1].number if record.steps else 0
    return all(call.ended_at for call in record.calls if call.step == last)


def _write(
    own: SpanContext, parent: SpanContext | None, name: str, told: Attributes,
    begun: datetime, ended: datetime, error: str | None = None,
) -> None:  # fmt: skip
    """Write a span of the past whose ids are given."""
    token = trace_ids.next_ids.set((own.trace_id, own.span_id))
    try:
        context, start = trace_ids.under(parent), _nanoseconds(begun)
        made = _tracer.start_span(redacted(name), context, start_time=start)
    finally:
        trace_ids.next_ids.reset(token)
    span = Span(made)
    span.tell(told)
    if error:
        span.failed(error)
    made.end(_nanoseconds(ended))


@contextmanager
def _span(name: str, told: Attributes, kind: SpanKind, parent: Context | None = None) -> Generator[Span]:
    with _tracer.start_as_current_span(
        redacted(name), parent, kind, record_exception=False, set_status_on_exception=False
    ) as made:
        span = Span(made)
        span.tell(told)
        try:
            yield span
        except BaseException as error:
            span.failed(type(error).__name__)
            raise


def _tokens(usage: Usage) -> Attributes:
    return {names.INPUT_TOKENS: usage.input_tokens, names.OUTPUT_TOKENS: usage.output_tokens}


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
