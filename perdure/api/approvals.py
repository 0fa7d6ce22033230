"""What the approval routes do, apart from speaking HTTP and waking orchestrations."""

import re
from datetime import UTC, datetime

from perdure.api.problems import Conflict, NotFound
from perdure.api.schemas.approvals import Confirmation, Decision, DecisionRequest, Resolution
from perdure.api.tasks import task_of
from perdure.bootstrap import Services
from perdure.documents.port import DocumentChanged
from perdure.domain.approval import Approval, ApprovalState, Kind
from perdure.domain.principal import Principal
from perdure.domain.references import Reference
from perdure.domain.task import Task
from perdure.stores.approvals import ApprovalPage, FoundApproval

_ID = re.compile(r"([1-9][0-9]{0,4})-(0|[1-9][0-9]{0,4})(?:-([1-9][0-9]{0,2}))?")

_TAKES = {Kind.APPROVAL: "decision", Kind.UNKNOWN_OUTCOME: "resolve"}


async def waiting(app: Services, who: Principal, limit: int, continuation: str | None) -> ApprovalPage:
    """List what waits for the caller: of their own tasks; for an `admin`, of everybody's in the tenant."""
    user = None if who.may("admin") else who.user
    page = await app.approvals.pending(who.tenant, user, limit, continuation)
    now = datetime.now(UTC)
    # Some expired, and their tasks have not looked yet.
    return ApprovalPage([one for one in page.approvals if not one.has_expired(now)], page.continuation)


async def decide(app: Services, who: Principal, task_id: str, approval_id: str, request: DecisionRequest) -> Approval:
    """Store a decision. The first one counts.

    Raises:
        NotFound: There is no such task or question, or it is not the caller's.
        Conflict: It was decided before, it has expired, the task has ended, or something else was asked.
    """
    said = request.root
    # Who decides for others sees what the agent wants to do, so it takes the scope that sees everything else.
    task = await task_of(app, who.tenant, None if who.may("admin") else who.user, task_id)
    while True:
        found = await _question(app, task, approval_id)
        now = datetime.now(UTC)
        if found.approval.has_expired(now):
            raise Conflict("Nobody decided in time: the approval has expired.")
        if found.approval.state is not ApprovalState.PENDING:
            raise Conflict(f"It is {found.approval.state} already, since {found.approval.decided_at}.")
        if task.reason is not None:
            raise Conflict(f"The task has ended already: {task.status}, {task.reason}.")
        kind = Kind.APPROVAL if isinstance(said, Decision) else Kind.UNKNOWN_OUTCOME
        if kind is not found.approval.kind:
            raise Conflict(
                f"It is of the kind {found.approval.kind}, and is answered with {_TAKES[found.approval.kind]!r}."
            )
        result = said.result if isinstance(said, Confirmation) else None
        decided = found.approval.decided(_state(said), who.user, said.comment, now, result)
        try:
            await app.approvals.put(Reference(task.tenant, task.id), found, decided)
        except DocumentChanged:
            # Somebody was quicker. What they decided is what the caller is told.
            continue
        return decided


def _state(said: Decision | Resolution | Confirmation) -> ApprovalState:
    if isinstance(said, Decision):
        return ApprovalState.APPROVED if said.decision == "approve" else ApprovalState.REJECTED
    return ApprovalState(said.resolve)


async def _question(app: Services, task: Task, approval_id: str) -> FoundApproval:
    named = _ID.fullmatch(approval_id)
    if named:
        step, index, number = (int(part or 0) for part in named.groups())
        if found := await app.approvals.get(Reference(task.tenant, task.id), step, index, number):
            return found
    raise NotFound(
        f"Nobody is asked {approval_id[:64]!r} about the task; GET /api/approvals lists what waits for a decision."
    )
