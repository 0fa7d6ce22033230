"""Conversations in requests and responses."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, Field

from perdure.api.schemas.tasks import CONTENT
from perdure.domain.thread import Thread
from perdure.stores.threads import ThreadMessage


class ThreadQuery(BaseModel):
    """Which messages of a conversation are shown.

    Attributes:
        limit: How many at most.
        continuation: What the page before gave, to read on from there.
    """

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    continuation: Annotated[int, Field(ge=0, le=999_999_999)] = 0


class MessageView(BaseModel):
    """One message of a conversation; `content` is cut to 4,096 characters for the results of tools."""

    number: int
    task_id: str
    role: str
    content: str
    tool_calls: list[dict[str, str]]
    tool_call_id: str | None

    @classmethod
    def of(cls, stored: ThreadMessage) -> "MessageView":
        message = stored.message
        return cls(
            number=stored.number,
            task_id=stored.task,
            role=message.role,
            content=message.content[:CONTENT] if message.role == "tool" else message.content,
            tool_calls=[asdict(call) for call in message.tool_calls],
            tool_call_id=message.tool_call_id,
        )


class ThreadView(BaseModel):
    """A conversation, one page of it, oldest first. `busy` is the task that writes it now."""

    thread_id: str
    created_at: datetime
    updated_at: datetime
    length: int
    busy: str | None
    waiting: int
    summary: str | None
    messages: list[MessageView]
    continuation: str | None

    @classmethod
    def of(cls, thread: Thread, messages: Sequence[ThreadMessage]) -> "ThreadView":
        read = messages[-1].number + 1 if messages else thread.length
        return cls(
            thread_id=thread.name,
            created_at=thread.created_at,
            updated_at=thread.updated_at,
            length=thread.length,
            busy=thread.writer(datetime.now(UTC)),
            waiting=len(thread.queue),
            summary=thread.summary.text or None,
            messages=[MessageView.of(message) for message in messages],
            continuation=str(read) if read < thread.length else None,
        )
