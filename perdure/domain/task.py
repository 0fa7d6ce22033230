"""A task: one run of an agent on one query, from `processing` to one of three ends.

processing ──> completed   the agent answered
           ├─> failed      it could not; the reason says why
           └─> cancelled   its owner or an operator stopped it
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from perdure.domain.budget import MICRO, Budget, Price, Spent
from perdure.domain.messages import Message, ToolCall, ToolSpec, Usage
from perdure.domain.thread import thread_key


class TaskStatus(StrEnum):
    """Where a task stands."""

    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Reason(StrEnum):
    """Why a task ended."""

    ANSWERED = "answered"
    BUDGET_EXCEEDED = "budget_exceeded"
    DEGRADED = "degraded"
    STEP_LIMIT = "step_limit"
    TIME_LIMIT = "time_limit"
    EMPTY_REPLY = "empty_reply"
    INVALID_OUTPUT = "invalid_output"
    REPETITION = "repetition"
    MODEL_REJECTED = "model_rejected"
    MODEL_UNAVAILABLE = "model_unavailable"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    LOST = "lost"
    LEASE_LOST = "lease_lost"
    INTERNAL_ERROR = "internal_error"

    @property
    def status(self) -> TaskStatus:
        """The status a task has once it ended for this reason."""
        match self:
            case Reason.ANSWERED:
                return TaskStatus.COMPLETED
            case Reason.CANCELLED | Reason.TERMINATED:
                return TaskStatus.CANCELLED
            case _:
                return TaskStatus.FAILED


class CallState(StrEnum):
    """A tool call's place in the effect ledger.

    `prepared` (recorded, not started) or `awaiting_approval` (by a person) -> `dispatched` (a tool that must not run
    twice was started) -> `committed` (it returned) or `failed` (it did not, and the model was told why). A call that is
    `dispatched` and cannot be at work any more is `unknown`: it may have happened. A person is asked what became of it,
    and makes it `committed`, `failed` or, to be run again, `prepared`. A call of an idempotent tool that could not
    reach what it needs is `unavailable` until an attempt gets through.
    """

    PREPARED = "prepared"
    AWAITING_APPROVAL = "awaiting_approval"
    DISPATCHED = "dispatched"
    UNAVAILABLE = "unavailable"
    COMMITTED = "committed"
    FAILED = "failed"
    UNKNOWN = "unknown"


SETTLED = frozenset({CallState.COMMITTED, CallState.FAILED, CallState.UNKNOWN})
"""States in which a call has a result for the model."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one task: model steps, seconds from submission to end, tool calls of one step, tokens of earlier
    conversation it sees, tokens of one reply, seconds a person has to decide on a call, which do not count towards its
    end, and seconds that it waits for a model that is down."""

    max_steps: int
    max_seconds: float
    max_calls: int = 1000
    context_tokens: int = 16_000
    max_output_tokens: int = 4096
    approval_seconds: float = 86_400
    outage_seconds: float = 300


@dataclass(frozen=True, slots=True)
class Offer:
    """A model and what it costs; None when nobody knows."""

    model: str
    price: Price | None


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as a task runs it, frozen into the task when it is submitted.

    Attributes:
        approval: When a person must agree to a call, by tool; never for those not named.
        price: What its model costs; None when nobody knows.
        fallback: Models that are asked when that one is down or cannot answer, in this order.
        description: What an agent that may ask it is told of it.
        agents: The agents it may ask, each with those that it may ask in turn.
    """

    name: str
    instructions: str
    model: str
    tools: tuple[str, ...]
    limits: Limits
    approval: dict[str, str] = field(default_factory=dict[str, str])
    budget: Budget = field(default_factory=Budget)
    price: Price | None = None
    fallback: tuple[Offer, ...] = ()
    description: str = ""
    agents: tuple["Agent", ...] = ()

    @property
    def family(self) -> Iterator["Agent"]:
        """It and all agents that may come to be asked."""
        yield self
        for agent in self.agents:
            yield from agent.family

    @property
    def offers(self) -> tuple[Offer, ...]:
        """All its models, in the order in which they are asked."""
        return (Offer(self.model, self.price), *self.fallback)

    def price_of(self, model: str) -> Price | None:
        """What one of its models costs; None when nobody knows."""
        return next((offer.price for offer in self.offers if offer.model == model), None)

    def within(self, budget: Budget, limits: Limits) -> "Agent":
        """The same with the lower of its own budget, steps and seconds and of those given."""
        lower = replace(
            self.limits,
            max_steps=min(self.limits.max_steps, limits.max_steps),
            max_seconds=min(self.limits.max_seconds, limits.max_seconds),
        )
        return replace(self, budget=self.budget.within(budget), limits=lower)


@dataclass(frozen=True, slots=True)
class Origin:
    """The call that a task answers, when an agent asked another.

    Attributes:
        task: The task that asked.
        root: The one that a person started, which is the same unless that was asked itself.
        begun_at: When the person did.
    """

    task: str
    step: int
    index: int
    root: str
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Task:
    """One agent run.

    Attributes:
        thread: The user's name for the conversation it continues, or None. Of a task that an agent started, the one
            that the asking task continues: it is part of that, but sees nothing of it and adds nothing to it.
        trace: The span of the request that started it, as W3C Trace Context writes it, or None.
        origin: The call it answers; None when a person started it.
        result: The agent's answer, or what it had written when its budget was used up, or what there was when its
            model was down for good; None until then.
        detail: One sentence for the caller when the task did not end with an answer.
    """

    id: str
    tenant: str
    user: str
    query: str
    context: dict[str, Any] | None
    agent: Agent
    metadata: dict[str, str]
    created_at: datetime
    thread: str | None = None
    status: TaskStatus = TaskStatus.PROCESSING
    reason: Reason | None = None
    result: str | None = None
    detail: str | None = None
    ended_at: datetime | None = None
    trace: str | None = None
    origin: Origin | None = None

    @property
    def root(self) -> str:
        """The task that a person started: this one, or that for which it was started."""
        return self.origin.root if self.origin else self.id

    @property
    def begun_at(self) -> datetime:
        """When a person started what it is part of."""
        return self.origin.begun_at if self.origin else self.created_at

    @property
    def deadline(self) -> datetime:
        """When it ends, whatever it is doing then, if it never waits for a person."""
        return self.created_at + timedelta(seconds=self.agent.limits.max_seconds)

    @property
    def over_by(self) -> datetime:
        """When it has ended at the latest: its deadline moves while people decide, in each of its steps perhaps, or of
        those that the agents take that it asks."""
        asking = [agent.limits.approval_seconds for agent in self.agent.family if agent.approval]
        return self.deadline + timedelta(seconds=max(asking, default=0.0) * self.agent.limits.max_steps)

    @property
    def thread_id(self) -> str | None:
        """The id of the thread within the tenant."""
        return thread_key(self.user, self.thread) if self.thread else None


@dataclass(frozen=True, slots=True)
class Step:
    """One model turn as it was recorded, with the tool calls it asked for.

    Attributes:
        model: The model that answered, by the provider's name.
        asked: The model that was asked, by the agent's name for it; None for the agent's first.
    """

    number: int
    text: str
    calls: tuple[ToolCall, ...]
    usage: Usage
    model: str
    started_at: datetime
    ended_at: datetime
    asked: str | None = None


@dataclass(frozen=True, slots=True)
class Bill:
    """What a task used that an agent started, and those that it started in turn.

    Attributes:
        micro_usd: None when nobody knows what a model costs.
    """

    usage: Usage
    steps: int
    micro_usd: int | None

    @property
    def spent(self) -> Spent:
        return Spent(self.usage.input_tokens + self.usage.output_tokens, self.micro_usd or 0)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One tool call in the effect ledger.

    Attributes:
        index: Place of the call within its step, from 0.
        arguments: JSON text as the model wrote it.
        key: Idempotency key, the same for every attempt at this call.
        content: What the model is told; None until the call is settled.
        doubts: How often its outcome was unknown. Each time a person is asked, in an approval of this number.
        same_as: Index of the call of its step that it repeats. It is not run; the outcome of that one is its own.
        micro_usd: What the tool said that its attempts cost.
        asked: The task that answers it, when another agent is asked.
        bill: What that used.
    """

    step: int
    index: int
    tool: str
    arguments: str
    key: str
    state: CallState = CallState.PREPARED
    content: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    doubts: int = 0
    same_as: int | None = None
    micro_usd: int = 0
    asked: str | None = None
    bill: Bill | None = None


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """All that is stored of a task: the task, its steps in order, and its calls by (step, index), those that repeat
    another with the outcome of that one.

    `earlier` is the conversation before the task, as much of it as the model may see, fixed when the task joined its
    thread. `tools` is what the model is told of its tools, fixed when the task began.
    """

    task: Task
    steps: tuple[Step, ...] = ()
    calls: tuple[LedgerEntry, ...] = ()
    earlier: tuple[Message, ...] = ()
    tools: tuple[ToolSpec, ...] = ()

    @property
    def told_calls(self) -> tuple[LedgerEntry, ...]:
        """Its calls as callers are told of them: one that was at work when its task ended may have taken effect."""
        if self.task.reason is None:
            return self.calls
        at_work = CallState.DISPATCHED
        return tuple(replace(call, state=CallState.UNKNOWN) if call.state is at_work else call for call in self.calls)

    @property
    def bills(self) -> tuple[Bill, ...]:
        """What the agents used that were asked."""
        return tuple(call.bill for call in self.calls if call.bill)

    @property
    def open_tasks(self) -> tuple[str, ...]:
        """The tasks of agents that were asked and have not answered."""
        return tuple(call.asked for call in self.calls if call.asked and call.state not in SETTLED)

    @property
    def usage(self) -> Usage:
        """Tokens of all steps, and of those that other agents took for it."""
        return sum((part.usage for part in (*self.steps, *self.bills)), Usage())

    @property
    def steps_elsewhere(self) -> int:
        """Steps that other agents took for it."""
        return sum(bill.steps for bill in self.bills)

    @property
    def spent(self) -> Spent:
        """Tokens and money of all steps, also of those elsewhere; no money where the price is not known."""
        own = (Spent.of(step.usage, self.price(step)) for step in self.steps)
        return sum((*own, *(bill.spent for bill in self.bills)), Spent())

    def price(self, step: Step) -> Price | None:
        """What the model that was asked for a step costs; None when nobody knows."""
        return self.task.agent.price_of(step.asked or self.task.agent.model)

    @property
    def cost_usd(self) -> float | None:
        """What all steps cost in US dollars, also those elsewhere; None when nobody knows."""
        prices = [self.price(step) for step in self.steps] or [self.task.agent.price]
        unknown = None in prices or any(bill.micro_usd is None for bill in self.bills)
        return None if unknown else self.spent.micro_usd / MICRO

    @property
    def bill(self) -> Bill:
        """What it used in all."""
        micro_usd = None if self.cost_usd is None else self.spent.micro_usd
        return Bill(self.usage, len(self.steps) + self.steps_elsewhere, micro_usd)

    def with_step(self, step: Step) -> "TaskRecord":
        """The record once a step was made."""
        return self if self.step(step.number) else replace(self, steps=(*self.steps, step))

    def step(self, number: int) -> Step | None:
        return next((step for step in self.steps if step.number == number), None)
