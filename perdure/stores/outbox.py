"""What agents want to send, for a transport of the deployment's own to take: one document a message."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from perdure.documents.containers import OUTBOX
from perdure.documents.port import DocumentExists, Documents, StoreUnavailable
from perdure.tools.tool import ToolUnavailable

EMAIL = "email"


class OutboxStore:
    """Messages that wait to be sent, by the user in whose name they are."""

    def __init__(self, store: Documents, ttl: Mapping[str, int] | None = None) -> None:
        """Keep messages in a store; `ttl` is the property that makes them expire."""
        self._store = store
        self._ttl = dict(ttl or {})

    async def put(self, tenant: str, user: str, task: str, key: str, message: Mapping[str, object]) -> None:
        """Keep a message to be sent. Done again with the same key, it changes nothing."""
        body = {
            "id": key, "type": EMAIL, "task": task, "created_at": datetime.now(UTC).isoformat(),
            "message": dict(message), **self._ttl,
        }  # fmt: skip
        with suppress(DocumentExists):
            await self._store.create(OUTBOX, (tenant, user), body)


@dataclass(frozen=True, slots=True)
class UserOutbox:
    """One user's outbox, as one call of a tool may use it."""

    outbox: OutboxStore
    tenant: str
    user: str
    task: str
    key: str

    async def put(self, message: Mapping[str, object]) -> None:
        try:
            await self.outbox.put(self.tenant, self.user, self.task, self.key, message)
        except StoreUnavailable as error:
            raise ToolUnavailable(str(error)) from error
