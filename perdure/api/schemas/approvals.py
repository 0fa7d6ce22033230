"""Approvals of tool calls in requests and responses."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from perdure.domain.approval import Approval


class ApprovalListQuery(BaseModel):
    """Which of the approvals that wait are listed.

    Attributes:
        limit: How many at most.
        continuation: What the page before gave, to read on from there.
    """

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    continuation: str | None = None


class DecisionRequest(BaseModel):
    """What a person decided.

    Attributes:
        decision: `approve`: the call is run as it was shown. `reject`: it is not, and the model is told.
        comment: Why. When the call is rejected, the model reads it.
    """

    model_config = ConfigDict(extra="forbid")

    decision: Literal["approve", "reject"]
    comment: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)] = ""


class ApprovalView(BaseModel):
    """A call that a person must agree to. `input` is what the tool would be called with, as JSON text."""

    task_id: str
    call_id: str
    tool: str
    input: str
    agent: str
    user: str
    asked_at: datetime
    expires_at: datetime
    state: Literal["pending", "approved", "rejected", "expired", "withdrawn"]
    decided_by: str | None
    decided_at: datetime | None
    comment: str

    @classmethod
    def of(cls, approval: Approval) -> "ApprovalView":
        return cls(
            task_id=approval.task,
            call_id=approval.call_id,
            tool=approval.tool,
            input=approval.arguments,
            agent=approval.agent,
            user=approval.user,
            asked_at=approval.asked_at,
            expires_at=approval.expires_at,
            state=approval.state.value,
            decided_by=approval.decided_by,
            decided_at=approval.decided_at,
            comment=approval.comment,
        )


class ApprovalPageView(BaseModel):
    """Some of the approvals that wait, those of the oldest task first. `continuation` asks for the next ones; null when
    there are none."""

    approvals: list[ApprovalView]
    continuation: str | None
