"""What the approval routes do, apart from speaking HTTP and waking orchestrations."""

import re
from datetime import UTC, datetime

from perdure.api.problems import Conflict, NotFound
from perdure.api.schemas.approvals import DecisionRequest
from perdure.api.tasks import task_of
from perdure.bootstrap import Services
from perdure.documents.port import DocumentChanged
from perdure.domain.approval import Approval, ApprovalState
from perdure.domain.principal import Principal
from perdure.domain.references import Reference
from perdure.domain.task import Task
from perdure.stores.approvals import ApprovalPage, FoundApproval

_CALL_ID = re.compile(r"([1-9][0-9]{0,4})-(0|[1-9][0-9]{0,4})")


async def waiting(app: Services, who: Principal, limit: int, continuation: str | None) -> ApprovalPage:
    """List what waits for the caller: calls of their own tasks; for an `admin`, of everybody's in the tenant."""
    user = None if who.may("admin") else who.user
    page = await app.approvals.pending(who.tenant, user, limit, continuation)
    now = datetime.now(UTC)
    # Some expired, and their tasks have not looked yet.
    return ApprovalPage([one for one in page.approvals if not one.has_expired(now)], page.continuation)


async def decide(app: Services, who: Principal, task_id: str, call_id: str, request: DecisionRequest) -> Approval:
    """Store a decision. The first one counts.

    Raises:
        NotFound: There is no such task or call, or it is not the caller's.
        Conflict: It was decided before, it has expired, or the task has ended.
    """
    # Who decides for others sees what the agent wants to do, so it takes the scope that sees everything else.
    task = await task_of(app, who.tenant, None if who.may("admin") else who.user, task_id)
    while True:
        found = await _of_call(app, task, call_id)
        now = datetime.now(UTC)
        if found.approval.has_expired(now):
            raise Conflict("Nobody decided in time: the approval has expired.")
        if found.approval.state is not ApprovalState.PENDING:
            raise Conflict(f"It is {found.approval.state} already, since {found.approval.decided_at}.")
        if task.reason is not None:
            raise Conflict(f"The task has ended already: {task.status}, {task.reason}.")
        state = ApprovalState.APPROVED if request.decision == "approve" else ApprovalState.REJECTED
        decided = found.approval.decided(state, who.user, request.comment, now)
        try:
            await app.approvals.put(Reference(task.tenant, task.id), found, decided)
        except DocumentChanged:
            # Somebody was quicker. What they decided is what the caller is told.
            continue
        return decided


async def _of_call(app: Services, task: Task, call_id: str) -> FoundApproval:
    named = _CALL_ID.fullmatch(call_id)
    found = named and await app.approvals.get(Reference(task.tenant, task.id), int(named[1]), int(named[2]))
    if not found:
        raise NotFound(
            f"No call {call_id[:64]!r} of the task needs an approval; GET /api/approvals lists those that do."
        )
    return found
