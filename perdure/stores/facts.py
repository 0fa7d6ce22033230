"""What agents remember of a user: single facts, found again by what they are about."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from perdure.documents.containers import MEMORIES
from perdure.documents.port import DocumentExists, Documents
from perdure.models.port import ModelRejected, ModelUnavailable
from perdure.stores.embedding_space import EmbeddingSpace
from perdure.tools.tool import Fact, ToolError, ToolUnavailable

FACT = "fact"


class FactStore:
    """Remembered facts of every user. Nobody sees another user's."""

    def __init__(self, store: Documents, space: EmbeddingSpace, ttl: Mapping[str, int] | None = None) -> None:
        """Keep facts in a store; `ttl` is the property that makes them expire."""
        self._store = store
        self._space = space
        self._ttl = dict(ttl or {})

    async def remember(self, tenant: str, user: str, fact: str, task: str) -> bool:
        """Keep a fact that a task learned; False when it was known: spaces, case and a full stop at the end make no
        difference.

        Raises:
            EmbeddingsMismatch, ModelUnavailable, ModelRejected: See `EmbeddingSpace.embed`.
        """
        text = " ".join(fact.split())
        if await self._store.read(MEMORIES, (tenant, user), _fact_id(text)):
            return False
        [vector] = await self._space.embed([text])
        body = {
            "id": _fact_id(text),
            "type": FACT,
            "text": text,
            "task": task,
            "created_at": datetime.now(UTC).isoformat(),
            "embedding": vector,
            **self._ttl,
        }
        with suppress(DocumentExists):
            await self._store.create(MEMORIES, (tenant, user), body)
            return True
        return False

    async def recall(self, tenant: str, user: str, query: str, limit: int) -> list[Fact]:
        """Find the facts nearest to a query, best first.

        Facts are few and short, so even a distant one is returned: whoever asks can tell.
        """
        vector = await self._space.query(query)
        if vector is None:
            return []
        found = await self._store.nearest(MEMORIES, (tenant, user), vector, where={"type": FACT}, limit=limit)
        return [Fact(match.body["text"], match.body["created_at"], round(match.score, 3)) for match in found]


@dataclass(frozen=True, slots=True)
class UserFacts:
    """One user's facts, as a tool called by a task may use them."""

    facts: FactStore
    tenant: str
    user: str
    task: str

    async def remember(self, fact: str) -> bool:
        try:
            return await self.facts.remember(self.tenant, self.user, fact, self.task)
        except ModelUnavailable as error:
            raise ToolUnavailable(str(error)) from error
        except ModelRejected as error:
            raise ToolError(f"The fact cannot be kept: {error}") from error

    async def recall(self, query: str, limit: int) -> list[Fact]:
        try:
            return await self.facts.recall(self.tenant, self.user, query, limit)
        except ModelUnavailable as error:
            raise ToolUnavailable(str(error)) from error
        except ModelRejected as error:
            raise ToolError(f"The facts cannot be searched: {error}") from error


def _fact_id(text: str) -> str:
    normal = text.casefold().rstrip(".!")
    return f"fact-{hashlib.sha256(normal.encode()).hexdigest()[:24]}"
