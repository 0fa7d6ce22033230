"""Calls whose outcome nobody knows: a person is asked what became of them, and what they say is carried out.

1. A tool that must not run twice was started, and its end was not seen: the attempt died, it timed out, or the tool
   itself could not tell. The call becomes `unknown` and the question is stored beside it, both or neither.
2. The orchestration waits for the decision as it does for approvals, and looks here when it has one.
3. `committed` and `failed` become the outcome of the call; after `retry` it is `prepared` again, with the same key. If
   nobody decides, the model is told that the outcome is unknown.
"""

import logging
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from perdure.bootstrap import Services
from perdure.documents.port import DocumentChanged
from perdure.domain.approval import Approval, ApprovalState
from perdure.domain.conversation import UNKNOWN
from perdure.domain.references import CallRef
from perdure.domain.task import CallState, LedgerEntry, Task
from perdure.stores.active import TooManyTasks
from perdure.stores.tasks import FoundCall

HAPPENED = "Nobody saw the end of this call; a person found that it took effect. Its result is not known."
DID_NOT_HAPPEN = "Nobody saw the end of this call; a person found that it did not take effect."

GRACE = timedelta(seconds=10)
"""How long after its time-out a dispatched call may still be writing down its outcome."""

logger = logging.getLogger(__name__)


def seconds_at_work(entry: LedgerEntry, timeout: float, now: datetime) -> float:
    """Say for how long a dispatched call may still be at work."""
    end = (entry.started_at or now) + timedelta(seconds=timeout) + GRACE
    return max((end - now).total_seconds(), 0.0)


async def ask(app: Services, ref: CallRef, found: FoundCall) -> CallState:
    """Write down that the outcome of a call is unknown, and ask what became of it, if its task still wants to know.

    Raises:
        DocumentChanged: The call is not as it was found any more.
    """
    now, entry = datetime.now(UTC), found.entry
    unknown = replace(entry, state=CallState.UNKNOWN, content=UNKNOWN, ended_at=now, doubts=entry.doubts + 1)
    task = await app.tasks.get(ref.tenant, ref.task)
    if task is None or task.reason is not None:
        await app.tasks.put_call(ref, found, unknown)
    else:
        question = _question(task, unknown, now)
        await app.approvals.ask_what_became(ref, found, unknown, question)
        logger.warning("A person must say what became of call %s of task %s, of %s", question.id, task.id, entry.tool)
        await _count_for_longer(app, task, question)
    return CallState.UNKNOWN


async def carry_out(app: Services, ref: CallRef, question: Approval) -> bool:
    """Do what a person decided of an unknown outcome; whether the call is to be run (again)."""
    found = await app.tasks.call(ref)
    entry, now = found.entry, datetime.now(UTC)
    if entry.doubts != question.number:
        return False
    comment = f" Their comment: {question.comment}" if question.comment else ""
    match question.state:
        case ApprovalState.COMMITTED:
            content = f"{HAPPENED}{comment}" if question.result is None else question.result
            decided = replace(entry, state=CallState.COMMITTED, content=content, ended_at=now)
        case ApprovalState.FAILED:
            decided = replace(entry, state=CallState.FAILED, content=f"{DID_NOT_HAPPEN}{comment}", ended_at=now)
        case ApprovalState.RETRY:
            decided = replace(entry, state=CallState.PREPARED, content=None, started_at=None, ended_at=None)
        case _:
            return False
    if entry.state is CallState.UNKNOWN:
        # Who changed it meanwhile is another attempt at this, which did the same.
        with suppress(DocumentChanged):
            await app.tasks.put_call(ref, found, decided)
        return decided.state is CallState.PREPARED
    return entry.state is CallState.PREPARED


def _question(task: Task, entry: LedgerEntry, now: datetime) -> Approval:
    return Approval(
        task=task.id, user=task.user, agent=task.agent.name, step=entry.step, index=entry.index, tool=entry.tool,
        arguments=entry.arguments, key=entry.key, asked_at=now,
        expires_at=now + timedelta(seconds=task.agent.limits.approval_seconds), number=entry.doubts,
        parent=task.origin and task.origin.task,
    )  # fmt: skip


async def _count_for_longer(app: Services, task: Task, question: Approval) -> None:
    """The wait moves the deadline of the task, and so the time for which it counts as running."""
    over_by = question.expires_at + timedelta(seconds=task.agent.limits.max_seconds)
    with suppress(TooManyTasks):
        await app.active.enter(task.tenant, task.user, task.root, over_by)
