"""Approvals, each in the partition of its task.

approval-<task id>-00003-00012        of call 12 of the task's third step
approval-<task id>-00003-00012-001    what became of that call, when its outcome was unknown for the first time
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from perdure.documents.containers import TASKS
from perdure.documents.port import Create, DocumentChanged, DocumentExists, Documents, Replace, in_batches
from perdure.domain.approval import Approval, ApprovalState
from perdure.domain.references import Reference, StepRef
from perdure.domain.task import LedgerEntry
from perdure.stores import task_documents
from perdure.stores.tasks import FoundCall

APPROVAL = "approval"
PAGE = 100

_approval = TypeAdapter(Approval)


@dataclass(frozen=True, slots=True)
class FoundApproval:
    """An approval as it was read."""

    approval: Approval
    etag: str


@dataclass(frozen=True, slots=True)
class ApprovalPage:
    """Some approvals that are pending, oldest task first; `continuation` asks for the next ones."""

    approvals: list[Approval]
    continuation: str | None


class ApprovalStore:
    """Approvals by their calls."""

    def __init__(self, store: Documents, ttl: Mapping[str, int] | None = None) -> None:
        """Keep approvals in a store; `ttl` is the property that makes them expire, as their tasks do."""
        self._store = store
        self._ttl = dict(ttl or {})

    async def ask(self, ref: Reference, approvals: Sequence[Approval]) -> None:
        """Ask for the approvals of a step. What an earlier attempt asked stays as it is."""
        for batch in in_batches(Create(_body(approval) | self._ttl) for approval in approvals):
            # Batches are atomic and cut alike by every attempt.
            with suppress(DocumentExists):
                await self._store.batch(TASKS, (ref.tenant, ref.task), batch)

    async def ask_what_became(self, ref: Reference, found: FoundCall, entry: LedgerEntry, approval: Approval) -> None:
        """Write a call as unknown and ask about it, both or neither.

        Raises:
            DocumentChanged: The call is not as it was found any more.
        """
        unknown = Replace(task_documents.from_call(entry) | self._ttl, found.etag)
        await self._store.batch(TASKS, (ref.tenant, ref.task), [unknown, Create(_body(approval) | self._ttl)])

    async def pending(self, tenant: str, user: str | None, limit: int, continuation: str | None) -> ApprovalPage:
        """List what waits for a decision in the tasks of a user, or of everybody in the tenant."""
        where = {"type": APPROVAL, "state": ApprovalState.PENDING.value} | ({"user": user} if user else {})
        page = await self._store.page(TASKS, (tenant,), where=where, limit=limit, continuation=continuation)
        return ApprovalPage([to_approval(stored.body) for stored in page.items], page.continuation)

    async def of_step(self, ref: StepRef) -> list[FoundApproval]:
        """Read all approvals of a step."""
        return await self._all(ref, f"{ref.step:05}-")

    async def get(self, ref: Reference, step: int, index: int, number: int = 0) -> FoundApproval | None:
        """Read the approval of one call, or what was asked of it later; None when it was never asked."""
        stored = await self._store.read(TASKS, (ref.tenant, ref.task), _id(ref.task, step, index, number))
        return FoundApproval(to_approval(stored.body), stored.etag) if stored else None

    async def put(self, ref: Reference, found: FoundApproval, approval: Approval) -> FoundApproval:
        """Write an approval as it was decided.

        Raises:
            DocumentChanged: Somebody else was first.
        """
        stored = await self._store.replace(TASKS, (ref.tenant, ref.task), _body(approval) | self._ttl, found.etag)
        return FoundApproval(approval, stored.etag)

    async def withdraw(self, ref: Reference) -> None:
        """Ask for nothing more in a task that has ended."""
        for found in await self._all(ref, ""):
            if found.approval.state is ApprovalState.PENDING:
                with suppress(DocumentChanged):
                    now = datetime.now(UTC)
                    await self.put(ref, found, found.approval.decided(ApprovalState.WITHDRAWN, None, "", now))

    async def _all(self, ref: Reference, suffix: str) -> list[FoundApproval]:
        found: list[FoundApproval] = []
        continuation = None
        while True:
            page = await self._store.page(
                TASKS, (ref.tenant, ref.task),
                id_prefix=f"{APPROVAL}-{ref.task}-{suffix}", limit=PAGE, continuation=continuation,
            )  # fmt: skip
            found += [FoundApproval(to_approval(stored.body), stored.etag) for stored in page.items]
            if (continuation := page.continuation) is None:
                return found


def to_approval(body: dict[str, Any]) -> Approval:
    """Read the stored form."""
    return _approval.validate_python(body)


def _body(approval: Approval) -> dict[str, Any]:
    fields = _approval.dump_python(approval, mode="json")
    return {**fields, "id": _id(approval.task, approval.step, approval.index, approval.number), "type": APPROVAL}


def _id(task: str, step: int, index: int, number: int) -> str:
    return f"{APPROVAL}-{task}-{step:05}-{index:05}" + (f"-{number:03}" if number else "")
