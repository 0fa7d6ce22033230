"""Approvals of tool calls: asked for when the model asks for the call, and checked again before the tool runs.

1. The model step records a call that needs an approval as `awaiting_approval`, and the approval beside it.
2. A person decides through the API. That is stored first; then the orchestration is woken.
3. The orchestration then looks here: what was rejected or has expired is settled, what was approved may run. So is what
   people decided on unknown outcomes; see `doubts`.
4. Before any tool runs, `refusal` asks for the stored approval of exactly these arguments.
"""

import inspect
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pydantic_core import to_jsonable_python

from perdure.bootstrap import Services
from perdure.documents.port import DocumentChanged
from perdure.domain.approval import Approval, ApprovalState, Kind
from perdure.domain.next_step import Look
from perdure.domain.references import CallRef, StepRef
from perdure.domain.task import SETTLED, CallState, LedgerEntry, Task
from perdure.domain.thread import LeaseLost, hold
from perdure.loop import doubts
from perdure.stores.approvals import FoundApproval
from perdure.stores.tasks import FoundCall
from perdure.tools.approval import NEVER, is_needed
from perdure.tools.arguments import read_arguments
from perdure.tools.tool import Tool, ToolError

REJECTED = "A person decided against this call, so it was not run."
EXPIRED = "Nobody approved this call in time, so it was not run."
NOT_APPROVED = "This call was not approved as it stands, so it was not run."


def needs_approval(task_policies: dict[str, str], tool: Tool, arguments: str) -> bool:
    """Decide whether a person must agree to a call.

    Args:
        task_policies: The agent's policies by tool, as frozen into the task.
        arguments: JSON text as the model wrote it. Arguments that the tool would refuse need nobody's approval.
    """
    policy = task_policies.get(tool.name, NEVER)
    if policy == NEVER:
        return False
    try:
        given = read_arguments(tool, arguments)
    except ToolError:
        return False
    parameters = inspect.signature(tool.function).parameters
    defaults = {name: parameters[name].default for name in tool.parameters["properties"] if name not in given}
    return is_needed(policy, to_jsonable_python(defaults | given, fallback=str))


def approvals_for(task: Task, calls: Sequence[LedgerEntry]) -> list[Approval]:
    """Make the approvals that calls wait for."""
    now = datetime.now(UTC)
    expires = now + timedelta(seconds=task.agent.limits.approval_seconds)
    waiting = [call for call in calls if call.state is CallState.AWAITING_APPROVAL]
    asked, parent = (task.id, task.user, task.agent.name), task.origin and task.origin.task
    return [
        Approval(*asked, call.step, call.index, call.tool, call.arguments, call.key, now, expires, parent=parent)
        for call in waiting
    ]


async def look(app: Services, ref: StepRef) -> Look:
    """See what was decided on the calls of a step, and settle those that will not run (again)."""
    now = datetime.now(UTC)
    if ref.thread is not None:
        try:
            await app.threads.change(ref.tenant, ref.thread, lambda thread: hold(thread, ref.writer, now))
        except LeaseLost:
            return Look(ended="lease_lost")
    task = await app.tasks.get(ref.tenant, ref.task)
    if task is None or task.reason is not None:
        return Look(ended="ended")
    runnable: list[tuple[int, str]] = []
    waiting: list[float] = []
    for found in await app.approvals.of_step(ref):
        approval = await _up_to_date(app, ref, found, now)
        call = CallRef(ref.tenant, ref.task, ref.step, approval.index)
        if approval.state is ApprovalState.PENDING:
            waiting.append((approval.expires_at - now).total_seconds())
        elif await (_may_run if approval.kind is Kind.APPROVAL else doubts.carry_out)(app, call, approval):
            runnable.append((approval.index, approval.tool))
    longest = max((tool.timeout for _, name in runnable if (tool := app.tools.get(name))), default=0.0)
    return Look(tuple(runnable), max(min(waiting), 0.0) if waiting else None, timeout=longest)


async def refusal(app: Services, tool: Tool, ref: CallRef, found: FoundCall, key: str) -> str | None:
    """Say why a call may not run, if a person had to agree to it and has not agreed to exactly this.

    Args:
        key: What the key of the call must be, made anew from its arguments.
    """
    entry = found.entry
    if entry.doubts and key != entry.key:
        return NOT_APPROVED
    awaited = entry.state is CallState.AWAITING_APPROVAL
    if not awaited and not needs_approval(found.task.agent.approval, tool, entry.arguments):
        return None
    asked = await app.approvals.get(ref, ref.step, ref.index)
    agreed = asked and asked.approval.state is ApprovalState.APPROVED and key == entry.key == asked.approval.key
    return None if agreed else NOT_APPROVED


async def _up_to_date(app: Services, ref: StepRef, found: FoundApproval, now: datetime) -> Approval:
    approval = found.approval
    if approval.state is ApprovalState.PENDING and approval.has_expired(now):
        with suppress(DocumentChanged):
            expired = approval.decided(ApprovalState.EXPIRED, None, "", now)
            return (await app.approvals.put(ref, found, expired)).approval
    # Who decided in just this moment is found at the next look, which follows at once.
    return approval


async def _may_run(app: Services, ref: CallRef, approval: Approval) -> bool:
    """Whether a call is to be run now that it was decided on. It is settled if not."""
    found = await app.tasks.call(ref)
    if found.entry.state in SETTLED or found.entry.doubts:
        return False
    if approval.state is ApprovalState.APPROVED:
        return True
    said = f"{REJECTED} Their comment: {approval.comment}" if approval.comment else REJECTED
    content = said if approval.state is ApprovalState.REJECTED else EXPIRED
    now = datetime.now(UTC)
    entry = replace(found.entry, state=CallState.FAILED, content=content, started_at=now, ended_at=now)
    with suppress(DocumentChanged):
        await app.tasks.put_call(ref, found, entry)
    return False
