"""Which trace a task belongs to, and the ids of spans that outlive a process.

A task is worked on by many processes, and any of them may die. What its spans have to agree on is therefore not kept in
memory: the trace of the request that started it is stored with the task, and the ids of the spans that others hang
under, the task's and its steps', follow from the task's id. Orchestrators make no spans at all, so that a replay has
none to make again.
"""

import hashlib
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from perdure.domain.task import Task

TRACEPARENT = "traceparent"

next_ids: ContextVar[tuple[int, int] | None] = ContextVar("perdure_next_ids", default=None)
"""Trace and span id for the span that is started next; None for random ones. The SDK's id generator asks."""

_propagator = TraceContextTextMapPropagator()


def current_traceparent() -> str | None:
    """The current span, as W3C Trace Context writes it; None when there is none."""
    carrier = dict[str, str]()
    _propagator.inject(carrier)
    return carrier.get(TRACEPARENT)


def extracted(traceparent: str) -> Context:
    """A context in which the span of a header is the current one; an empty one if that is malformed."""
    return _propagator.extract({TRACEPARENT: traceparent}, Context())


def request_of(task: Task) -> SpanContext | None:
    """The span of the request that started a task; None when that was not traced."""
    span = trace.get_current_span(extracted(task.trace)).get_span_context() if task.trace else None
    return span if span and span.is_valid else None


def span_of(task: Task, step: int | None = None) -> SpanContext:
    """The span of a task or of one of its steps, whether or not it has been written yet.

    Without a traced request, the trace has the task's own id.
    """
    request = request_of(task)
    trace_id = request.trace_id if request else _number(task.id, 16)
    flags = request.trace_flags if request else TraceFlags(TraceFlags.SAMPLED)
    name = task.id if step is None else f"{task.id}/{step}"
    return SpanContext(trace_id, _number(f"span {name}", 8), is_remote=True, trace_flags=flags)


def under(span: SpanContext | None) -> Context:
    """A context in which a span of another process is the current one; None makes the next span a root."""
    return trace.set_span_in_context(NonRecordingSpan(span), Context()) if span else Context()


def _number(text: str, size: int) -> int:
    """A number of so many bytes, never 0, that follows from a text. A task's id is such a number already."""
    if len(text) == 2 * size and set(text) <= set("0123456789abcdef"):
        return int(text, 16) or 1
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size]) or 1
