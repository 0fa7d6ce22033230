"""What crosses the durable boundary: ids and small numbers, never the conversation.

Durable history keeps every activity input for good, so a task's history grows by a constant per step however long its
messages are. Each reference travels as a JSON object, which is all the Functions converter carries unchanged. None says
who the user is: that stands in the stored task, which nobody can write from outside.
"""

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """A task, by tenant and id."""

    tenant: str
    task: str

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        return cls(**data)

    def to_dict(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StepRef(Reference):
    """One model step of a task, and the thread the task continues. Steps count from 1.

    Attributes:
        waiting: Whether the task waits for a model that was down when it looked last.
        root: The task that a person started, which is the one that writes the thread; None when it is this one.
    """

    step: int
    thread: str | None = None
    waiting: bool = False
    root: str | None = None

    @property
    def writer(self) -> str:
        """The task that holds the thread."""
        return self.root or self.task


@dataclass(frozen=True, slots=True)
class CallRef(Reference):
    """One tool call of one step. Calls count from 0, in the order the model asked for them."""

    step: int
    index: int


@dataclass(frozen=True, slots=True)
class CallsRef(Reference):
    """Several tool calls of one step."""

    step: int
    calls: list[int]


@dataclass(frozen=True, slots=True)
class Ask:
    """Another agent that a step asks, by the call and by the task that will answer it, which is stored already.

    Attributes:
        max_steps: Model steps that task may take in all.
        max_seconds: Seconds it may take, unless its asker has less left.
        outage_seconds: How long it may wait for a model that is unavailable.
    """

    index: int
    task: str
    max_steps: int
    max_seconds: float
    outage_seconds: float


@dataclass(frozen=True, slots=True)
class Closing(Reference):
    """The end of a task: at which step, why, and one sentence for the caller unless it was answered."""

    step: int
    reason: str
    detail: str | None
    thread: str | None = None


@dataclass(frozen=True, slots=True)
class Run(Reference):
    """Where a task's orchestration stands: its input, and what it hands to itself when it continues as new.

    Attributes:
        deadline: ISO 8601 instant in UTC at which the task ends whatever it is doing.
        max_steps: Model steps the task may take in all.
        step: The step to take next.
        failures: How often in a row the model was asked for that step in vain.
        thread: The conversation the task continues, or None.
        joined: Whether the task is the thread's writer by now.
        awaiting: Whether calls of the step wait for a person to decide.
        outage: ISO 8601 instant in UTC since which the model has been unavailable for that step; None when it is not.
        outage_seconds: How long that may last.
        root: The task that a person started, when that is another: then an agent started this one.
        paused: Seconds that did not count, for the task waited for people.
    """

    deadline: str
    max_steps: int
    step: int = 1
    failures: int = 0
    thread: str | None = None
    joined: bool = False
    awaiting: bool = False
    outage: str | None = None
    outage_seconds: float = 300.0
    root: str | None = None
    paused: float = 0.0

    @property
    def deadline_utc(self) -> datetime:
        """The deadline as durable timers take it: naive, in UTC."""
        return datetime.fromisoformat(self.deadline).replace(tzinfo=None)

    @property
    def may_write(self) -> bool:
        """Whether steps may be taken: the task has no thread to wait for, or is its writer."""
        return self.thread is None or self.joined

    @property
    def step_ref(self) -> StepRef:
        return StepRef(self.tenant, self.task, self.step, self.thread, self.outage is not None, self.root)

    def asking(self, ask: Ask, now: datetime) -> "Run":
        """The run of another agent's task, whose time ends with this one's at the latest.

        It keeps the thread for the task that writes it, and does not write itself.

        Args:
            now: Naive, in UTC.
        """
        deadline = min(self.deadline_utc, now + timedelta(seconds=ask.max_seconds))
        return Run(
            self.tenant,
            ask.task,
            deadline.isoformat(),
            ask.max_steps,
            thread=self.thread,
            joined=self.joined,
            outage_seconds=ask.outage_seconds,
            root=self.root or self.task,
        )

    def gives_up_at(self, now: datetime) -> datetime:
        """When there is no more waiting for a model that is unavailable, naive and in UTC as `now` is."""
        begun = datetime.fromisoformat(self.outage) if self.outage else now
        return min(begun + timedelta(seconds=self.outage_seconds), self.deadline_utc)

    def closing(self, reason: str, detail: str | None) -> Closing:
        return Closing(self.tenant, self.task, self.step, reason, detail, None if self.root else self.thread)

    def call_ref(self, index: int) -> CallRef:
        return CallRef(self.tenant, self.task, self.step, index)

    def calls_ref(self, calls: list[int]) -> CallsRef:
        return CallsRef(self.tenant, self.task, self.step, calls)

    def as_writer(self) -> "Run":
        return replace(self, joined=True)

    def next_step(self) -> "Run":
        return replace(self, step=self.step + 1, failures=0, awaiting=False, outage=None)

    def awaiting_approval(self) -> "Run":
        return replace(self, awaiting=True)

    def after_pause(self, pause: timedelta) -> "Run":
        """The run after time that does not count."""
        deadline = datetime.fromisoformat(self.deadline) + pause
        return replace(self, deadline=deadline.isoformat(), paused=self.paused + pause.total_seconds())

    def same_step_again(self, failures: int, outage: str | None) -> "Run":
        return replace(self, failures=failures, outage=outage)
