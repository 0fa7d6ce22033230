"""A person's agreement to one tool call: asked for, then given, refused, or left to expire.

pending ──> approved    the call is run, with exactly the arguments that were shown
        ├─> rejected    it is not, and the model is told, with the person's comment
        ├─> expired     nobody decided in time
        └─> withdrawn   the task ended first
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class ApprovalState(StrEnum):
    """Where an approval stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
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
        comment: In their words; the model reads it when the call was rejected.
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

    @property
    def call_id(self) -> str:
        """The call's name within its task."""
        return call_id(self.step, self.index)

    def has_expired(self, now: datetime) -> bool:
        """Whether the time to decide has passed, noted or not."""
        return self.state is ApprovalState.EXPIRED or (self.state is ApprovalState.PENDING and self.expires_at <= now)

    def decided(self, state: ApprovalState, who: str | None, comment: str, now: datetime) -> "Approval":
        """The approval once somebody, or nobody, has decided."""
        return replace(self, state=state, decided_by=who, decided_at=now, comment=comment)


def call_id(step: int, index: int) -> str:
    """Name a call within its task, as in `3-0`: the first call of the third step."""
    return f"{step}-{index}"
