"""Erasures and their receipts. Those that are not complete yet are found by whoever completes them."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pydantic import TypeAdapter

from perdure.documents.containers import CONTROLS
from perdure.documents.port import DocumentChanged, Documents, Partition

PARTITION: Partition = ("system", "erasure")


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was to be erased, and what was.

    Attributes:
        thread: The user's name for the conversation, when it was about that alone.
        requested_by: The user who asked for it.
        removed: How many documents of each type, and of how many orchestrations the history.
        open_tasks: Tasks that were at work: what they may have written at their end is looked for once more.
        settles_at: When that is over; None when nothing was at work, nor an ingestion.
        completed_at: None while something may be left.
    """

    id: str
    tenant: str
    user: str
    thread: str | None
    requested_by: str
    requested_at: datetime
    removed: Mapping[str, int] = field(default_factory=dict[str, int])
    open_tasks: tuple[str, ...] = ()
    settles_at: datetime | None = None
    completed_at: datetime | None = None


_erasure = TypeAdapter(Erasure)


class ErasureStore:
    """Erasures of all tenants."""

    def __init__(self, store: Documents) -> None:
        self._store = store

    async def begin(self, tenant: str, user: str, thread: str | None, requested_by: str) -> Erasure:
        """Note that something is to be erased, so that it will be, whatever happens to the caller."""
        erasure = Erasure(secrets.token_hex(12), tenant, user, thread, requested_by, datetime.now(UTC))
        await self._store.create(CONTROLS, PARTITION, _body(erasure))
        return erasure

    async def get(self, tenant: str, erasure_id: str) -> Erasure | None:
        """Read an erasure of a tenant."""
        if not (erasure_id.isascii() and erasure_id.isalnum() and len(erasure_id) <= 64):
            return None
        stored = await self._store.read(CONTROLS, PARTITION, erasure_id)
        return _erasure.validate_python(stored.body) if stored and stored.body["tenant"] == tenant else None

    async def save(self, erasure: Erasure, removed: Mapping[str, int]) -> Erasure:
        """Write how far an erasure is, with what was removed besides what is noted already."""
        while True:
            stored = await self._store.read(CONTROLS, PARTITION, erasure.id)
            assert stored
            noted = _erasure.validate_python(stored.body)
            names = sorted({*noted.removed, *removed})
            total = {name: noted.removed.get(name, 0) + removed.get(name, 0) for name in names}
            news = replace(
                erasure,
                removed=total,
                open_tasks=tuple(sorted({*noted.open_tasks, *erasure.open_tasks})),
                settles_at=max(filter(None, (noted.settles_at, erasure.settles_at)), default=None),
                completed_at=noted.completed_at or erasure.completed_at,
            )
            try:
                await self._store.replace(CONTROLS, PARTITION, _body(news), stored.etag)
            except DocumentChanged:
                continue
            return news

    async def incomplete(self) -> list[Erasure]:
        """Those that something is left to do for."""
        page = await self._store.page(CONTROLS, PARTITION, where={"state": "running"}, limit=1000)
        return [_erasure.validate_python(stored.body) for stored in page.items]


def _body(erasure: Erasure) -> dict[str, object]:
    state = "completed" if erasure.completed_at else "running"
    return {**_erasure.dump_python(erasure, mode="json"), "type": "erasure", "state": state}
