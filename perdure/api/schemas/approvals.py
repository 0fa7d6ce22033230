"""Questions to people about tool calls in requests and responses."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, RootModel, StringConstraints, Tag

from perdure.domain.approval import Approval

type Comment = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]


class ApprovalListQuery(BaseModel):
    """Which of the questions that wait are listed.

    Attributes:
        limit: How many at most.
        continuation: What the page before gave, to read on from there.
    """

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    continuation: str | None = None


class Decision(BaseModel):
    """Whether a call may be run, for the kind `approval`.

    Attributes:
        decision: `approve`: the call is run as it was shown. `reject`: it is not, and the model is told.
        comment: Why. When the call is rejected, the model reads it.
    """

    model_config = ConfigDict(extra="forbid")

    decision: Literal["approve", "reject"]
    comment: Comment = ""


class Resolution(BaseModel):
    """What became of a call, for the kind `unknown_outcome`.

    Attributes:
        resolve: `failed`: it did not take effect, and the model is told. `retry`: it is run again, with the same
            idempotency key.
        comment: Why. The model reads it, unless the call is run again.
    """

    model_config = ConfigDict(extra="forbid")

    resolve: Literal["failed", "retry"]
    comment: Comment = ""


class Confirmation(BaseModel):
    """That a call took effect, for the kind `unknown_outcome`.

    Attributes:
        resolve: `committed`: it took effect, and the model is told.
        result: What the tool would have returned, when that is known: the model reads it as the result of the call.
        comment: Why. The model reads it, unless there is a result.
    """

    model_config = ConfigDict(extra="forbid")

    resolve: Literal["committed"]
    result: Annotated[str | None, StringConstraints(max_length=65_536)] = None
    comment: Comment = ""


def _shape(body: object) -> str:
    if not isinstance(body, dict) or "resolve" not in body:
        return "decision"
    return "confirmation" if body["resolve"] == "committed" else "resolution"


class DecisionRequest(
    RootModel[
        Annotated[
            Annotated[Decision, Tag("decision")]
            | Annotated[Resolution, Tag("resolution")]
            | Annotated[Confirmation, Tag("confirmation")],
            Discriminator(_shape),
        ]
    ]
):
    """What a person decided."""


class ApprovalView(BaseModel):
    """A call about which a person must decide: of the kind `approval`, whether it may be run; of the kind
    `unknown_outcome`, what became of it. `input` is what the tool would be, or was, called with, as JSON text.

    Attributes:
        approval_id: Names the question; the call it is about may be asked about again.
        parent_id: The task for which an agent started this one; null when a person did.
        result: What the tool returned, as a person said it.
    """

    approval_id: str
    kind: Literal["approval", "unknown_outcome"]
    task_id: str
    parent_id: str | None
    call_id: str
    tool: str
    input: str
    agent: str
    user: str
    asked_at: datetime
    expires_at: datetime
    state: Literal["pending", "approved", "rejected", "committed", "failed", "retry", "expired", "withdrawn"]
    decided_by: str | None
    decided_at: datetime | None
    comment: str
    result: str | None

    @classmethod
    def of(cls, approval: Approval) -> "ApprovalView":
        return cls(
            approval_id=approval.id,
            kind=approval.kind.value,
            task_id=approval.task,
            parent_id=approval.parent,
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
            result=approval.result,
        )


class ApprovalPageView(BaseModel):
    """Some of the questions that wait, those of the oldest task first. `continuation` asks for the next ones; null when
    there are none."""

    approvals: list[ApprovalView]
    continuation: str | None
