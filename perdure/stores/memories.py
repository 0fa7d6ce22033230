"""Documents that users loaded: listed, searched and removed. `perdure.stores.ingestion` is how they come in."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from perdure.documents.containers import MEMORIES
from perdure.documents.port import DocumentChanged, DocumentMissing, Documents, Match, delete_unchanged
from perdure.models.port import ModelRejected, ModelUnavailable
from perdure.stores import memory_documents as documents
from perdure.stores.embedding_space import EmbeddingSpace
from perdure.stores.ingestion import delete_all
from perdure.stores.memory_documents import LoadedDocument
from perdure.tools.tool import Passage, ToolError, ToolUnavailable

MIN_SCORE = 0.1
"""Passages below this cosine similarity have nothing to do with the query."""

WIDEN = 4
"""How much further a search looks when passages it found belong to documents that are not published."""

MOST_RANKED = 500
"""Passages a search looks through at most; of more, the best are all of documents that nobody can see yet."""


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Some of a user's documents by id; `continuation` asks for the next ones."""

    documents: list[LoadedDocument]
    continuation: str | None


class MemoryStore:
    """Loaded documents of every user. Nobody sees another user's."""

    def __init__(self, store: Documents, space: EmbeddingSpace) -> None:
        self._store = store
        self._space = space

    async def page(self, tenant: str, user: str, *, limit: int, continuation: str | None) -> DocumentPage:
        """List a user's documents by id."""
        page = await self._store.page(
            MEMORIES, (tenant, user), where={"type": documents.DOCUMENT}, limit=limit, continuation=continuation
        )
        return DocumentPage([documents.to_loaded(stored.body) for stored in page.items], page.continuation)

    async def get(self, tenant: str, user: str, document: str) -> LoadedDocument | None:
        """Read one document, without its passages."""
        stored = await self._store.read(MEMORIES, (tenant, user), document)
        return documents.to_loaded(stored.body) if stored and stored.body["type"] == documents.DOCUMENT else None

    async def is_being_removed(self, tenant: str, user: str, document: str) -> bool:
        """Whether a removal of a document has begun and not ended."""
        stored = await self._store.read(MEMORIES, (tenant, user), document)
        return stored is not None and stored.body["type"] == documents.REMOVED

    async def remove(self, tenant: str, user: str, document: str) -> bool:
        """Remove a document with its passages; False when there is none. A removal cut short can be done again."""
        if not documents.is_document_id(document):
            return False
        stored = await self._store.read(MEMORIES, (tenant, user), document)
        if stored is None:
            return await self._remove_leftovers(tenant, user, document)
        # Of two removals at the same time, the later one sees it through.
        with suppress(DocumentChanged, DocumentMissing):
            removed = {**stored.body, "type": documents.REMOVED}
            stored = await self._store.replace(MEMORIES, (tenant, user), removed, stored.etag)
            await delete_all(self._store, (tenant, user), documents.chunk_prefix(document, stored.body["ingestion"]))
            await self._store.batch(MEMORIES, (tenant, user), delete_unchanged(stored))
        return True

    async def _remove_leftovers(self, tenant: str, user: str, document: str) -> bool:
        """Remove what ingestions that were cut short for good left of a document that is not published."""
        ingestions: set[str] = set()
        continuation = None
        while True:
            page = await self._store.page(
                MEMORIES, (tenant, user), id_prefix=documents.chunk_prefix(document), continuation=continuation
            )
            ingestions |= {stored.body["ingestion"] for stored in page.items}
            if (continuation := page.continuation) is None:
                break
        # Asked after the passages were seen: an ingestion that has them, but no load, and is not published, is over.
        names = {documents.load_id(document, one): one for one in ingestions}
        found = await self._store.read_many(MEMORIES, (tenant, user), [document, *names])
        alive = {names.get(stored.body["id"], stored.body.get("ingestion")) for stored in found}
        for ingestion in ingestions - alive:
            await delete_all(self._store, (tenant, user), documents.chunk_prefix(document, ingestion))
        return bool(ingestions - alive)

    async def search(self, tenant: str, user: str, query: str, limit: int) -> list[Passage]:
        """Find the passages nearest to a query, best first.

        Raises:
            EmbeddingsMismatch, ModelUnavailable, ModelRejected: See `EmbeddingSpace.query`.
        """
        vector = await self._space.query(query)
        if vector is None:
            return []
        asked = limit
        while True:
            where = {"type": documents.CHUNK}
            found = await self._store.nearest(MEMORIES, (tenant, user), vector, where=where, limit=asked)
            near = [match for match in found if match.score >= MIN_SCORE]
            published = await self._published(tenant, user, {match.body["document_id"] for match in near})
            passages = [
                _passage(one) for one in near if published.get(one.body["document_id"]) == one.body["ingestion"]
            ]
            if len(passages) >= limit or len(near) < asked or asked >= MOST_RANKED:
                return passages[:limit]
            asked *= WIDEN

    async def _published(self, tenant: str, user: str, ids: Iterable[str]) -> dict[str, str]:
        """The ingestions of those documents that are there as a whole: not half ingested and not half removed."""
        found = await asyncio.gather(*(self.get(tenant, user, one) for one in ids))
        return {document.id: document.ingestion for document in found if document}


@dataclass(frozen=True, slots=True)
class UserDocuments:
    """One user's documents, as a tool may search them."""

    memories: MemoryStore
    tenant: str
    user: str

    async def search(self, query: str, limit: int) -> list[Passage]:
        try:
            return await self.memories.search(self.tenant, self.user, query, limit)
        except ModelUnavailable as error:
            raise ToolUnavailable(str(error)) from error
        except ModelRejected as error:
            raise ToolError(f"The documents cannot be searched: {error}") from error


def _passage(match: Match) -> Passage:
    body = match.body
    return Passage(
        document=body["document"],
        heading=body["heading"],
        text=body["text"],
        start=body["start"],
        end=body["end"],
        score=round(match.score, 3),
        document_id=body["document_id"],
    )
