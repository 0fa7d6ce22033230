"""Threads and their messages, one partition a thread.

    <thread id>         who may write, who waits, how long the conversation is, and its summary
    message-00000042    message 42

Messages are written before the thread says that it is longer by them, so a turn is seen whole or not at all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from perdure.documents.containers import THREADS
from perdure.documents.port import (
    MAX_BATCH,
    DocumentChanged,
    DocumentExists,
    DocumentMissing,
    Documents,
    Operation,
    Replace,
    Upsert,
    in_batches,
)
from perdure.domain.messages import Message
from perdure.domain.thread import LeaseLost, Thread, hold, leave

THREAD = "thread"
MESSAGE = "message"
PAGE = 1000

type Change = Callable[[Thread], Thread]


@dataclass(frozen=True, slots=True)
class ThreadMessage:
    """A message of a conversation with its number and the task that wrote it."""

    number: int
    task: str
    message: Message


_thread, _message = TypeAdapter(Thread), TypeAdapter(ThreadMessage)


class ThreadStore:
    """Conversations."""

    def __init__(self, store: Documents, ttl: Mapping[str, int] | None = None) -> None:
        """Keep threads in a store; `ttl` is the property that makes their documents expire."""
        self._store = store
        self._ttl = dict(ttl or {})

    async def get(self, tenant: str, thread_id: str) -> Thread | None:
        """Read a thread without its messages."""
        stored = await self._store.read(THREADS, (tenant, thread_id), thread_id)
        return _to_thread(stored.body) if stored else None

    async def add(self, thread: Thread) -> bool:
        """Store a new thread; False when there is one of that id."""
        try:
            await self._store.create(THREADS, (thread.tenant, thread.id), _from_thread(thread) | self._ttl)
        except DocumentExists:
            return False
        return True

    async def change(self, tenant: str, thread_id: str, change: Change, writing: Sequence[Operation] = ()) -> Thread:
        """Replace a thread by what a function makes of it, again and again until nobody comes in between.

        Args:
            writing: Done together with the replacement or not at all: a task that lost its lease writes nothing.

        Raises:
            DocumentMissing: There is no such thread.
        """
        while True:
            stored = await self._store.read(THREADS, (tenant, thread_id), thread_id)
            if stored is None:
                raise DocumentMissing(f"no thread {thread_id}")
            changed = change(_to_thread(stored.body))
            replacing = Replace(_from_thread(changed) | self._ttl, stored.etag)
            try:
                await self._store.batch(THREADS, (tenant, thread_id), [replacing, *writing])
            except DocumentChanged:
                continue
            return changed

    async def append(
        self, tenant: str, thread_id: str, task: str, messages: Sequence[Message], now: datetime
    ) -> Thread:
        """Add a turn and give up the lease. Done again, it changes nothing.

        Raises:
            LeaseLost: Another task writes, and this one's turn is not in the conversation.
        """
        thread = await self.get(tenant, thread_id)
        if thread is None:
            raise DocumentMissing(f"no thread {thread_id}")
        if (not thread.lease or thread.lease.task != task) and await self._has_turn(thread, task):
            return thread
        upserts = [
            Upsert(_from_message(thread.length + at, task, message) | self._ttl) for at, message in enumerate(messages)
        ]

        def close(thread: Thread) -> Thread:
            longer = replace(hold(thread, task, now), length=thread.length + len(upserts), updated_at=now)
            return leave(longer, task, now)

        # Each batch also renews the lease, so it is written by the writer or not at all.
        *first, last = [*in_batches(upserts, MAX_BATCH - 1)] or [[]]
        for batch in first:
            await self.change(tenant, thread_id, lambda thread: hold(thread, task, now), batch)
        try:
            return await self.change(tenant, thread_id, close, last)
        except LeaseLost:
            # Or it was done, the answer was lost, and another task entered before it was asked for again.
            thread = await self.get(tenant, thread_id)
            if thread is None or not await self._has_turn(thread, task):
                raise
            return thread

    async def messages(self, thread: Thread, start: int, limit: int) -> list[ThreadMessage]:
        """Read messages from a number on, oldest first."""
        found: list[ThreadMessage] = []
        continuation = _message_id(start - 1) if start > 0 else None
        while len(found) < limit:
            page = await self._store.page(
                THREADS,
                (thread.tenant, thread.id),
                id_prefix=f"{MESSAGE}-",
                limit=min(PAGE, limit - len(found)),
                continuation=continuation,
            )
            found += [_to_message(stored.body) for stored in page.items]
            continuation = page.continuation
            if continuation is None:
                break
        return [message for message in found if message.number < thread.length]

    async def _has_turn(self, thread: Thread, task: str) -> bool:
        page = await self._store.page(
            THREADS, (thread.tenant, thread.id), where={"type": MESSAGE, "task": task}, limit=1
        )
        return any(stored.body["number"] < thread.length for stored in page.items)


def _message_id(number: int) -> str:
    return f"{MESSAGE}-{number:08}"


def _from_thread(thread: Thread) -> dict[str, Any]:
    return {**_thread.dump_python(thread, mode="json"), "type": THREAD}


def _to_thread(body: dict[str, Any]) -> Thread:
    return _thread.validate_python(body)


def _from_message(number: int, task: str, message: Message) -> dict[str, Any]:
    stored = _message.dump_python(ThreadMessage(number, task, message), mode="json")
    return {**stored, "id": _message_id(number), "type": MESSAGE}


def _to_message(body: dict[str, Any]) -> ThreadMessage:
    return _message.validate_python(body)
