"""A question to a person about one tool call.

May it be run? Asked before it is:

pending ──> approved    the call is run, with exactly the arguments that were shown
        ├─> rejected    it is not, and the model is told, with the person's comment
        ├─> expired     nobody decided in time
        └─> withdrawn   the task ended first

What became of it? Asked when it was started and nobody knows how it ended, each time anew:

pending ──> committed   it took effect; the model is told so, or the result that the person knows
        ├─> failed      it did not, and the model is told
        ├─> retry       it is run again, under the same idempotency key
        ├─> expired     nobody decided in time: the model is told that the outcome is unknown
        └─> withdrawn   the task ended first
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What is asked."""

    APPROVAL = "approval"
    UNKNOWN_OUTCOME = "unknown_outcome"


class ApprovalState(StrEnum):
    """Where a question stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    COMMITTED = "committed"
    FAILED = "failed"
    RETRY = "retry"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person is asked, and what they said.

    Attributes:
        user: Whose task it is.
        arguments: JSON text as the model wrote it.
        key: The call's idempotency key, which is a hash of the call with its arguments: what is agreed to is this.
        decided_by: The user who decided; None while nobody has.
        comment: In their words; the model reads it when the call was rejected, and when it is told what became of it.
        number: How often the outcome of the call was unknown when this was asked; 0 asks whether it may be run.
        result: What the tool returned, if the person knows.
        parent: The task for which an agent started the task; None when a person did.
    """

    task: str
    user: str
    agent: str
    step: int
    index: int
    tool: str
    arguments: str
    key: str
    asked_at: datetime
    expires_at: datetime
    state: ApprovalState = ApprovalState.PENDING
    decided_by: str | None = None
    decided_at: datetime | None = None
    comment: str = ""
    number: int = 0
    result: str | None = None
    parent: str | None = None

    @property
    def kind(self) -> Kind:
        return Kind.UNKNOWN_OUTCOME if self.number else Kind.APPROVAL

    @property
    def call_id(self) -> str:
        """The call's name within its task."""
        return call_id(self.step, self.index)

    @property
    def id(self) -> str:
        """The question's own name within the task, as in `3-0`, and `3-0-1` when the outcome is unknown: who answers a
        question that was answered already must not answer the next one."""
        return f"{self.call_id}-{self.number}" if self.number else self.call_id

    def has_expired(self, now: datetime) -> bool:
        """Whether the time to decide has passed, noted or not."""
        return self.state is ApprovalState.EXPIRED or (self.state is ApprovalState.PENDING and self.expires_at <= now)

    def decided(
        self, state: ApprovalState, who: str | None, comment: str, now: datetime, result: str | None = None
    ) -> "Approval":
        """The question once somebody, or nobody, has decided."""
        return replace(self, state=state, decided_by=who, decided_at=now, comment=comment, result=result)


def call_id(step: int, index: int) -> str:
    """Name a call within its task, as in `3-0`: the first call of the third step."""
    return f"{step}-{index}"
