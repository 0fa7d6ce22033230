"""A task as a stream of events: its own documents as they change, and what the model is writing.

Each event's id is the store's cursor after that change, so a client that reconnects with it misses nothing. It may see
a change twice. A `delta` says where its text belongs: what a client has of the step is cut to `offset`, and the text
added; another `attempt` starts anew; the `step` event has the whole text and ends them.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from perdure.api.schemas.approvals import ApprovalView
from perdure.api.schemas.tasks import EventsView, EventView, TaskSummary, ToolCallView
from perdure.documents.port import Change
from perdure.domain.task import Task
from perdure.stores import approvals
from perdure.stores import task_documents as documents
from perdure.stores.tasks import TaskStore

POLL_SECONDS, IDLE_POLL_SECONDS = 0.2, 1.0
"""How often the store is asked: at first, and when nothing has happened for a while."""

HEARTBEAT_SECONDS = 15.0
CLOSE_SECONDS = 180.0
"""A stream ends by itself well before Azure's front end would cut it, at 230 s; clients reconnect on their own."""

PAGE = 200
END = "done"
"""The last event of a task's stream."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `id` is None for one that a stream must not be taken up after."""

    id: str | None
    name: str
    data: dict[str, Any]


@dataclass(slots=True)
class Told:
    """What one client was told of the text that is being written, so that it is told the rest only."""

    _texts: dict[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])

    def events(self, changes: list[Change]) -> Iterator[Event]:
        """What changed documents mean to the client, up to the end of the task."""
        told = [change for change in changes if change.body["type"] != documents.TOOLS]
        for change, following in zip_longest(told, told[1:]):
            # Documents written together may have one cursor. Only the last of them tells it, so that a stream that
            # breaks between them is taken up again before the first.
            id = None if following and following.cursor == change.cursor else change.cursor
            name, data = event(change.body)
            yield Event(id, name, self._rest(data) if name == documents.DELTA else data)
            if name == END:
                return

    def _rest(self, data: dict[str, Any]) -> dict[str, Any]:
        step, attempt, text = data["step"], data["attempt"], data["text"]
        before, offset = self._texts.get(step, (attempt, 0))
        offset = offset if before == attempt else 0
        self._texts[step] = attempt, len(text)
        return {"step": step, "attempt": attempt, "offset": offset, "text": text[offset:]}


async def stream(tasks: TaskStore, task: Task, cursor: str | None) -> AsyncIterator[str]:
    """Yield a task's events from a cursor on, until the task ends or the stream has lasted CLOSE_SECONDS.

    Args:
        task: The task as it was just before; one that had ended then has no more news than what is stored.
    """
    yield "retry: 1000\n\n"
    told, pause = Told(), POLL_SECONDS
    started = beat = time.monotonic()
    while (now := time.monotonic()) - started < CLOSE_SECONDS:
        changes = await tasks.changes(task.tenant, task.id, cursor, PAGE)
        for event in told.events(changes):
            id = "" if event.id is None else f"id: {event.id}\n"
            yield f"{id}event: {event.name}\ndata: {json.dumps(event.data, ensure_ascii=False)}\n\n"
            if event.name == END:
                return
        if changes:
            cursor, beat, pause = changes[-1].cursor, now, POLL_SECONDS
        elif task.reason is not None:
            return
        if now - beat > HEARTBEAT_SECONDS:
            yield ": still working\n\n"
            beat = now
        if len(changes) < PAGE:
            await asyncio.sleep(pause)
            pause = min(pause * 1.1, IDLE_POLL_SECONDS)


async def page(tasks: TaskStore, task: Task, cursor: str | None, wait: float) -> EventsView:
    """A task's events after a cursor, for clients that cannot stream; waits some seconds for the first of them."""
    deadline, pause = time.monotonic() + wait, POLL_SECONDS
    while not (changes := await tasks.changes(task.tenant, task.id, cursor, PAGE)):
        if task.reason is not None or time.monotonic() >= deadline:
            break
        await asyncio.sleep(pause)
        pause = min(pause * 1.1, IDLE_POLL_SECONDS)
    events = list(Told().events(changes))
    return EventsView(
        events=[EventView(id=event.id, event=event.name, data=event.data) for event in events],
        cursor=changes[-1].cursor if changes else cursor,
        ended=any(event.name == END for event in events) or (task.reason is not None and len(changes) < PAGE),
    )


def event(body: documents.Body) -> tuple[str, dict[str, Any]]:
    """Say what a changed document is called in the stream, and what is told of it."""
    match body["type"]:
        case documents.TASK:
            task = documents.to_task(body)
            data = TaskSummary.of(task).model_dump(mode="json") | {"result": task.result}
            return (END if task.reason else "task"), data
        case documents.STEP:
            step = documents.to_step(body)
            return "step", {"step": step.number, "text": step.text, "tools": [call.name for call in step.calls]}
        case documents.DELTA:
            return documents.DELTA, {name: body[name] for name in ("step", "attempt", "text")}
        case documents.CALL:
            return "tool_call", ToolCallView.of(documents.to_call(body)).model_dump(mode="json")
        case approvals.APPROVAL:
            return approvals.APPROVAL, ApprovalView.of(approvals.to_approval(body)).model_dump(mode="json")
        case other:
            return other, {}
