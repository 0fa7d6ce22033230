"""A task as a stream of server-sent events: its own documents as they change.

Each event's id is the store's cursor after that change, so a client that reconnects with `Last-Event-ID` misses
nothing. It may see a change twice.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from itertools import zip_longest
from typing import Any

from perdure.api.schemas.tasks import TaskSummary, ToolCallView
from perdure.domain.task import Task
from perdure.stores import task_documents as documents
from perdure.stores.tasks import TaskStore

POLL_SECONDS = 0.2
HEARTBEAT_SECONDS = 15.0
CLOSE_SECONDS = 180.0
"""A stream ends by itself well before Azure's front end would cut it, at 230 s; clients reconnect on their own."""

PAGE = 200
END = "done"
"""The last event of a task's stream."""


async def stream(tasks: TaskStore, task: Task, cursor: str | None) -> AsyncIterator[str]:
    """Yield a task's events from a cursor on, until the task ends or the stream has lasted CLOSE_SECONDS.

    Args:
        task: The task as it was just before; one that had ended then has no more news than what is stored.
    """
    yield "retry: 1000\n\n"
    started = beat = time.monotonic()
    while (now := time.monotonic()) - started < CLOSE_SECONDS:
        changes = await tasks.changes(task.tenant, task.id, cursor, PAGE)
        for change, following in zip_longest(changes, changes[1:]):
            name, data = event(change.body)
            # Documents written together may have one cursor. Only the last of them tells it, so that a stream that
            # breaks between them is taken up again before the first.
            told = "" if following and following.cursor == change.cursor else f"id: {change.cursor}\n"
            yield f"{told}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
            if name == END:
                return
            cursor, beat = change.cursor, now
        if not changes and task.reason is not None:
            return
        if now - beat > HEARTBEAT_SECONDS:
            yield ": still working\n\n"
            beat = now
        if len(changes) < PAGE:
            await asyncio.sleep(POLL_SECONDS)


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
        case documents.CALL:
            return "tool_call", ToolCallView.of(documents.to_call(body)).model_dump(mode="json")
        case other:
            return other, {}
