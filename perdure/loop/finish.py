"""The end of a task: its turn in the thread, its status, its reason, and what it found."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from perdure.bootstrap import Services
from perdure.documents.port import DocumentError, DocumentMissing
from perdure.domain.conversation import turn
from perdure.domain.partial import last_text, partial_answer
from perdure.domain.references import Closing
from perdure.domain.task import Reason, TaskRecord
from perdure.domain.thread import LeaseLost, leave
from perdure.domain.tool_use import tool_use
from perdure.loop.asked import answer
from perdure.telemetry import metrics, spans


@dataclass(frozen=True, slots=True)
class Finished:
    """A task as it ended, with its steps, and the task that writes its thread from now on."""

    record: TaskRecord
    next_writer: str | None


async def finish(app: Services, end: Closing) -> Finished:
    """End a task. Done again, it changes nothing."""
    reason, detail, result, next_writer = Reason(end.reason), end.detail, None, None
    if end.thread is not None:
        # The thread first: who sees that the task has ended finds its turn in the conversation, and the thread free.
        try:
            next_writer = await _leave_thread(app, end, end.thread)
        except LeaseLost:
            reason, detail = Reason.LEASE_LOST, "The task stood still so long that its thread was given to another."
    record = await app.tasks.record(end.tenant, end.task)
    if reason is Reason.ANSWERED:
        step = record.step(end.step)
        result = step.text if step else None
    elif reason is Reason.BUDGET_EXCEEDED:
        result = last_text(record)
    elif reason is Reason.DEGRADED:
        result = partial_answer(record)
        reason = Reason.DEGRADED if result else Reason.MODEL_UNAVAILABLE
    with spans.part_of(record.task):
        ending = await app.tasks.end(end.tenant, end.task, reason, result, detail)
    task = ending.task
    if ending.was_ours:
        await tell(app, replace(record, task=task))
    if task.agent.approval or any(call.doubts for call in record.calls):
        await app.approvals.withdraw(end)
    if task.origin is None:
        await app.active.leave(task.tenant, task.user, task.id)
    for asked in record.open_tasks:
        with suppress(DocumentMissing):
            await finish(app, Closing(end.tenant, asked, 0, Reason.CANCELLED, "The task that asked it has ended."))
    record = replace(record, task=task)
    await answer(app, record)
    return Finished(record, next_writer)


async def tell(app: Services, ended: TaskRecord) -> None:
    """Tell of a task's end, and count the tools that it used last; to be done once for each."""
    spans.task_ended(ended)
    metrics.task_ended(ended)
    task = ended.task
    if ended.steps and (used := tool_use(ended.calls, ended.steps[-1].number)):
        # Nobody is helped by a task that does not end because of a sum.
        with suppress(DocumentError):
            await app.usage.add_tools(task.tenant, task.user, task.agent.name, ended.steps[-1].started_at, used)
    app.alerts.look_at(ended)


async def _leave_thread(app: Services, end: Closing, thread_id: str) -> str | None:
    """Add the turn if the task answered, leave the thread, and say who writes next. Raises LeaseLost."""
    now = datetime.now(UTC)
    record = await app.tasks.record(end.tenant, end.task)
    if end.reason == Reason.ANSWERED and record.task.reason is None:
        thread = await app.threads.append(end.tenant, thread_id, end.task, turn(record), now)
    else:
        thread = await app.threads.change(end.tenant, thread_id, lambda thread: leave(thread, end.task, now))
    return thread.writer(now)
