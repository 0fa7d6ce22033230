"""What is measured. docs/observability.md says what each instrument tells an operator."""

import time
from collections.abc import Iterable
from enum import IntEnum

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from perdure.domain.budget import MICRO
from perdure.domain.task import TaskRecord
from perdure.telemetry import names

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bounds of histograms, as the GenAI conventions have them."""

TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)

MINUTES = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 21600, 86400)
"""Bounds in seconds for what may take long: a task waits for people."""

FRESH_SECONDS = 120.0
"""Twice the usual interval of exports, so that nothing is missed between two of them."""

_meter = metrics.get_meter("perdure")

_tokens = _meter.create_histogram(
    "gen_ai.client.token.usage", "{token}", "Tokens of one call of a model.", explicit_bucket_boundaries_advisory=TOKENS
)
_model_duration = _meter.create_histogram(
    "gen_ai.client.operation.duration", "s", "A call of a model.", explicit_bucket_boundaries_advisory=SECONDS
)
_tool_duration = _meter.create_histogram(
    "perdure.tool.duration", "s", "An attempt at a tool call.", explicit_bucket_boundaries_advisory=SECONDS
)
_cost = _meter.create_counter("perdure.cost", "USD", "What calls of models, and of tools that say it, cost.")
_queue_time = _meter.create_histogram(
    "perdure.task.queue_time", "s", "From a task's submission to its first step.",
    explicit_bucket_boundaries_advisory=SECONDS,
)  # fmt: skip
_task_duration = _meter.create_histogram(
    "perdure.task.duration", "s", "From a task's submission to its end.", explicit_bucket_boundaries_advisory=MINUTES
)
_rejections = _meter.create_counter(
    "perdure.budget.rejections", "{call}", "Calls of models that no budget had room for."
)

type Attributes = dict[str, str | int | float]


class _Latest:
    """A gauge of what this process last saw of something that all processes change.

    Only what is fresh is exported: of several processes the one that saw it last is right, and the others fall silent.
    """

    def __init__(self, name: str, unit: str, description: str) -> None:
        self._seen = dict[str, tuple[float, int, Attributes]]()
        _meter.create_observable_gauge(name, [self._observe], unit, description)

    def set(self, key: str, value: int, attributes: Attributes) -> None:
        """Take down a value."""
        self._seen[key] = time.monotonic(), value, attributes

    def _observe(self, options: CallbackOptions) -> Iterable[Observation]:
        oldest = time.monotonic() - FRESH_SECONDS
        self._seen = {key: seen for key, seen in self._seen.items() if seen[0] >= oldest}
        return [Observation(value, attributes) for _, value, attributes in self._seen.values()]


_active = _Latest("perdure.tasks.active", "{task}", "Tasks of a tenant that are running.")
_breakers = _Latest("perdure.breaker.state", "1", "0 closed, 1 half-open, 2 open.")


class BreakerState(IntEnum):
    """A circuit breaker, as the gauge shows it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


def model_called(seconds: float, attributes: Attributes) -> None:
    """Count a call of a model that was answered or not."""
    _model_duration.record(seconds, attributes)


def tokens_used(input: int, output: int, attributes: Attributes) -> None:
    """Count the tokens of a call of a model."""
    _tokens.record(input, attributes | {names.TOKEN_TYPE: "input"})
    _tokens.record(output, attributes | {names.TOKEN_TYPE: "output"})


def tool_called(seconds: float, tool: str, outcome: str) -> None:
    """Count an attempt at a tool call: the state it left the call in, or the error that ended it."""
    _tool_duration.record(seconds, {names.TOOL: tool, names.CALL_STATE: outcome})


def spent(micro_usd: int, attributes: Attributes) -> None:
    """Count money: for whom, and for which model or tool."""
    if micro_usd:
        _cost.add(micro_usd / MICRO, attributes)


def task_ended(record: TaskRecord) -> None:
    """Count a task that has ended: how long it took, and how long it waited for its first step."""
    task = record.task
    if task.ended_at is None:
        return
    attributes: Attributes = {names.TENANT: task.tenant, names.AGENT: task.agent.name}
    ended: Attributes = attributes | {names.STATUS: task.status, names.REASON: task.reason or ""}
    _task_duration.record((task.ended_at - task.created_at).total_seconds(), ended)
    if record.steps:
        waited = (record.steps[0].started_at - task.created_at).total_seconds()
        _queue_time.record(max(waited, 0.0), attributes)


def tasks_active(tenant: str, count: int) -> None:
    """Say how many tasks of a tenant are running, as the store just counted them."""
    _active.set(tenant, count, {names.TENANT: tenant})


def budget_refused(tenant: str, agent: str) -> None:
    """Count a call of a model that was not made because a budget is used up."""
    _rejections.add(1, {names.TENANT: tenant, names.AGENT: agent})


def breaker_changed(breaker: str, state: BreakerState) -> None:
    """Say what state a circuit breaker has from now on."""
    _breakers.set(breaker, state, {names.BREAKER: breaker})
