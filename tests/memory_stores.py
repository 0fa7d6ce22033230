"""Memory over a store of its own, and a whole ingestion in one call, without a task hub."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from perdure.documents.port import Documents
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.ingestion import BatchRef, DocumentRef
from perdure.models.embeddings import Embeddings, HashingEmbeddings
from perdure.stores.embedding_space import EmbeddingSpace
from perdure.stores.facts import FactStore
from perdure.stores.ingestion import IngestionStore
from perdure.stores.memories import MemoryStore
from perdure.stores.memory_documents import document_id


@dataclass(frozen=True)
class Memory:
    store: Documents
    ingestion: IngestionStore
    memories: MemoryStore
    facts: FactStore

    async def load(self, tenant: str, user: str, title: str, text: str) -> str:
        """Ingest a document and return its id."""
        ingestion = secrets.token_hex(8)
        ref = DocumentRef(tenant, user, document_id(title, text), ingestion)
        await self.ingestion.stage(ref, title, text)
        for number in range(await self.ingestion.split(ref)):
            await self.ingestion.embed(BatchRef(tenant, user, ref.document, ingestion, number))
        await self.ingestion.publish(ref)
        return ref.document


def memory_over(store: Documents, embeddings: Embeddings | None = None) -> Memory:
    space = EmbeddingSpace(store, embeddings or HashingEmbeddings())
    return Memory(store, IngestionStore(store, space), MemoryStore(store, space), FactStore(store, space))


@asynccontextmanager
async def fresh_memory() -> AsyncIterator[Memory]:
    store = SqliteDocuments(":memory:")
    try:
        yield memory_over(store)
    finally:
        await store.close()
