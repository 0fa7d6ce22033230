"""Tasks with their steps and tool calls, one partition a task.

Ids are deterministic, so an activity that runs again finds what its first attempt wrote:

    <task id>           the task
    tools               what the model is told of its tools, as it was when the task began
    context             what it sees of the conversation before it, when it continues a thread
    delta-00004         what the model has written so far of the step that is being made
    step-00003          its third model step: the model's whole reply, written once and for all in one piece
    call-00003-00012    call 12 of that step: the effect ledger's entry, made from the step
"""

import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from perdure.documents.containers import TASKS
from perdure.documents.port import (
    Change,
    Create,
    DocumentChanged,
    DocumentExists,
    DocumentMissing,
    Documents,
    in_batches,
)
from perdure.domain.messages import Message, ToolSpec
from perdure.domain.references import CallRef, StepRef
from perdure.domain.task import LedgerEntry, Reason, Step, Task, TaskRecord, TaskStatus
from perdure.stores import task_documents as documents

logger = logging.getLogger(__name__)

PAGE = 1000
"""Documents asked for at once when a whole task is read."""


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Some of a caller's tasks, newest first; `continuation` asks for the next ones."""

    tasks: list[Task]
    continuation: str | None


@dataclass(frozen=True, slots=True)
class FoundCall:
    """A tool call as it was read, with its task."""

    task: Task
    entry: LedgerEntry
    etag: str


@dataclass(frozen=True, slots=True)
class Ending:
    """A task that has ended, and whether it did by what was asked just now: that is so once for each task."""

    task: Task
    was_ours: bool


class TaskStore:
    """Tasks, their steps and their tool calls."""

    def __init__(self, store: Documents, ttl: Mapping[str, int] | None = None) -> None:
        """Keep tasks in a store; `ttl` is the property that makes their documents expire."""
        self._store = store
        self._ttl = dict(ttl or {})

    async def add(self, task: Task, tools: Sequence[ToolSpec] = ()) -> Task:
        """Store a new task, with its tools as they are now. Returns the stored one: an earlier attempt's, when that
        came first."""
        bodies = [*([documents.from_tools(tools)] if tools else []), documents.from_task(task)]
        try:
            await self._store.batch(TASKS, (task.tenant, task.id), [Create(body | self._ttl) for body in bodies])
        except DocumentExists:
            return await self.get(task.tenant, task.id) or task
        return task

    async def remove(self, task: Task) -> None:
        """Take back a task that was not started."""
        for id in (documents.TOOLS, task.id):
            with suppress(DocumentMissing):
                await self._store.delete(TASKS, (task.tenant, task.id), id)

    async def get(self, tenant: str, task_id: str) -> Task | None:
        """Read the task alone, without its steps and calls."""
        stored = await self._store.read(TASKS, (tenant, task_id), task_id)
        return documents.to_task(stored.body) if stored else None

    async def page(self, tenant: str, user: str, *, limit: int, continuation: str | None) -> TaskPage:
        """List the tasks that a user started, newest first; not those that agents started for them."""
        page = await self._store.page(
            TASKS,
            (tenant,),
            where={"type": documents.TASK, "user": user, "level": documents.TOP},
            order="descending",
            limit=limit,
            continuation=continuation,
        )
        return TaskPage([documents.to_task(stored.body) for stored in page.items], page.continuation)

    async def record(self, tenant: str, task_id: str) -> TaskRecord:
        """Read all that is stored of a task. Raises DocumentMissing."""
        bodies: list[documents.Body] = []
        continuation = None
        while True:
            page = await self._store.page(TASKS, (tenant, task_id), limit=PAGE, continuation=continuation)
            bodies.extend(stored.body for stored in page.items)
            continuation = page.continuation
            if continuation is None:
                break
        record = documents.to_record(bodies)
        if record is None:
            raise DocumentMissing(f"no task {task_id}")
        return record

    async def changes(self, tenant: str, task_id: str, cursor: str | None, limit: int) -> list[Change]:
        """Read what was written of a task since a cursor."""
        return await self._store.changes(TASKS, (tenant, task_id), cursor, limit)

    async def step(self, ref: StepRef) -> Step | None:
        """Read one model step; None when it has not happened."""
        stored = await self._store.read(TASKS, (ref.tenant, ref.task), documents.step_document_id(ref.step))
        return documents.to_step(stored.body) if stored else None

    async def add_step(self, ref: StepRef, step: Step) -> Step:
        """Record a model step. Returns the recorded one: an earlier attempt's, when that came first.

        Raises:
            DocumentTooLarge: The reply does not fit a document.
        """
        try:
            await self._store.create(TASKS, (ref.tenant, ref.task), documents.from_step(step) | self._ttl)
        except DocumentExists:
            recorded = await self.step(ref)
            assert recorded is not None
            return recorded
        return step

    async def put_delta(self, ref: StepRef, attempt: str, text: str) -> None:
        """Write what an attempt at a step has of its text so far."""
        body = documents.from_delta(ref.step, attempt, text)
        await self._store.upsert(TASKS, (ref.tenant, ref.task), body)

    async def remove_delta(self, ref: StepRef) -> None:
        """Remove what was written of a step's text while it was made."""
        with suppress(DocumentMissing):
            await self._store.delete(TASKS, (ref.tenant, ref.task), documents.delta_document_id(ref.step))

    async def add_calls(self, ref: StepRef, calls: Sequence[LedgerEntry]) -> None:
        """Record the calls of a step. What an earlier attempt recorded stays as it is."""
        for batch in in_batches(Create(documents.from_call(call) | self._ttl) for call in calls):
            try:
                await self._store.batch(TASKS, (ref.tenant, ref.task), batch)
            except DocumentExists:
                # Batches are atomic and cut alike by every attempt: all of this one was recorded before.
                continue

    async def set_context(self, tenant: str, task_id: str, earlier: Sequence[Message]) -> None:
        """Fix what a task sees of the conversation before it. The first time counts."""
        with suppress(DocumentExists):
            await self._store.create(TASKS, (tenant, task_id), documents.from_context(earlier) | self._ttl)

    async def call(self, ref: CallRef) -> FoundCall:
        """Read one tool call together with its task. Raises DocumentMissing."""
        call_id = documents.call_document_id(ref.step, ref.index)
        found = await self._store.read_many(TASKS, (ref.tenant, ref.task), [ref.task, call_id])
        by_id = {stored.body["id"]: stored for stored in found}
        if len(by_id) < 2:
            raise DocumentMissing(f"no call {ref.index} of step {ref.step} in task {ref.task}")
        call, task = by_id[call_id], by_id[ref.task]
        return FoundCall(documents.to_task(task.body), documents.to_call(call.body), call.etag)

    async def put_call(self, ref: CallRef, found: FoundCall, entry: LedgerEntry) -> FoundCall:
        """Write a tool call in its new state.

        Raises:
            DocumentChanged: It is not as it was found any more.
        """
        body = documents.from_call(entry) | self._ttl
        stored = await self._store.replace(TASKS, (ref.tenant, ref.task), body, found.etag)
        return FoundCall(found.task, entry, stored.etag)

    async def finish(self, tenant: str, task_id: str, reason: Reason, result: str | None, detail: str | None) -> Task:
        """End a task, unless it has ended already: the first reason stands. Returns the task as it stands.

        Raises:
            DocumentMissing: There is no such task.
        """
        return (await self.end(tenant, task_id, reason, result, detail)).task

    async def end(self, tenant: str, task_id: str, reason: Reason, result: str | None, detail: str | None) -> "Ending":
        """End a task as `finish` does, and say whether it was this call that ended it."""
        while True:
            stored = await self._store.read(TASKS, (tenant, task_id), task_id)
            if stored is None:
                raise DocumentMissing(f"no task {task_id}")
            task = documents.to_task(stored.body)
            if task.reason is not None:
                return Ending(task, was_ours=False)
            ended = replace(
                task, status=reason.status, reason=reason, result=result, detail=detail, ended_at=datetime.now(UTC)
            )
            try:
                await self._store.replace(TASKS, (tenant, task_id), documents.from_task(ended) | self._ttl, stored.etag)
            except DocumentChanged:
                continue
            # infra/alerts.json counts these lines.
            level = logging.WARNING if ended.status is TaskStatus.FAILED else logging.INFO
            logger.log(level, "Task %s ended %s: %s", ended.id, ended.status, reason)
            return Ending(ended, was_ours=True)


def new_task_id() -> str:
    """Make a task id: 12 hexadecimal digits of milliseconds, then 20 random ones, so that ids sort by time."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
