"""Documents on their way into memory. What is written has deterministic ids, so every part may run again.

1. `stage` keeps the text, before the orchestration starts.
2. `split` cuts it into passages and lays them down in batches.
3. `embed` turns one batch into searchable passages.
4. `publish` writes the document itself, the moment from which it is listed and found, and clears up; `discard` clears
   up after a document that failed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice

from perdure.documents.containers import MEMORIES
from perdure.documents.port import (
    Body,
    Delete,
    DocumentExists,
    DocumentMissing,
    Documents,
    Operation,
    Partition,
    Upsert,
)
from perdure.domain.chunks import chunks
from perdure.domain.ingestion import BatchRef, DocumentRef
from perdure.stores import memory_documents as documents
from perdure.stores.embedding_space import EmbeddingSpace
from perdure.stores.memory_documents import LoadedDocument

RAW_CHARACTERS = 125_000
"""Characters of text in one stored piece: at most 500 KB in UTF-8, well below what a document may have."""

BATCH_PASSAGES = 64
"""Passages embedded by one activity, with one request to the model."""

WRITE_PASSAGES = 16
"""Passages in one write. With 3,072 dimensions they come to about 1 MB; Azure Cosmos DB takes 2 MB at once."""

CLEAR_DOCUMENTS = 100

MAX_PASSAGES = 20_000
"""Passages of one document. 5 MB of prose has a quarter of it; only text in crumbs has more."""


class IngestionFailed(Exception):
    """The document cannot be ingested as it is; trying again does not help."""


class IngestionStore:
    """Documents that are not yet searchable."""

    def __init__(self, store: Documents, space: EmbeddingSpace, ttl: Mapping[str, int] | None = None) -> None:
        """Ingest into a store; `ttl` is the property that makes what is published expire."""
        self._store = store
        self._space = space
        self._ttl = dict(ttl or {})

    async def check(self) -> None:
        """Raise EmbeddingsMismatch when nothing could be ingested, before anything is stored."""
        await self._space.check()

    async def stage(self, ref: DocumentRef, title: str, text: str) -> None:
        """Keep a document's text until it is ingested."""
        partition = _partition(ref)
        pieces = [text[at : at + RAW_CHARACTERS] for at in range(0, len(text), RAW_CHARACTERS)]
        for number, piece in enumerate(pieces):
            await self._store.upsert(
                MEMORIES, partition, _staged(documents.raw_id(ref.document, number), documents.RAW, text=piece)
            )
        load = _staged(documents.load_id(ref.document), documents.LOAD, title=title, pieces=len(pieces))
        # An earlier attempt's, or that of an ingestion that runs just now, may say more than ours.
        with suppress(DocumentExists):
            await self._store.create(MEMORIES, partition, load)

    async def split(self, ref: DocumentRef) -> int:
        """Cut a document into passages; returns how many batches they make: none when it is published already.

        Raises:
            IngestionFailed: It has too many passages, or its text is gone.
        """
        load = await self._load(ref)
        if load is None:
            return 0
        partition, title = _partition(ref), load["title"]
        names = [documents.raw_id(ref.document, number) for number in range(load["pieces"])]
        pieces = [await self._store.read(MEMORIES, partition, name) for name in names]
        if any(piece is None for piece in pieces):
            raise _gone(ref)
        text = "".join(piece.body["text"] for piece in pieces if piece)
        found = await asyncio.to_thread(lambda: list(islice(chunks(text), MAX_PASSAGES + 1)))
        if len(found) > MAX_PASSAGES:
            raise IngestionFailed(f"{title!r} falls into more than {MAX_PASSAGES:,} passages. Split it.")
        bodies = [documents.from_chunk(ref.document, title, number, chunk) for number, chunk in enumerate(found)]
        batches = [bodies[at : at + BATCH_PASSAGES] for at in range(0, len(bodies), BATCH_PASSAGES)]
        for number, batch in enumerate(batches):
            body = _staged(documents.batch_id(ref.document, number), documents.BATCH, passages=batch)
            await self._store.upsert(MEMORIES, partition, body)
        await self._store.upsert(MEMORIES, partition, {**load, "passages": len(bodies), "batches": len(batches)})
        return len(batches)

    async def embed(self, ref: BatchRef) -> int:
        """Embed one batch of passages and store them; returns how many. None of them is found before `publish`.

        Raises:
            IngestionFailed: The batch is gone.
            EmbeddingsMismatch, ModelRejected: The passages cannot be embedded.
            ModelUnavailable: They can be later.
        """
        partition = _partition(ref.document_ref)
        batch = await self._store.read(MEMORIES, partition, documents.batch_id(ref.document, ref.batch))
        if batch is None:
            if await self._published(ref.document_ref):
                return 0
            raise _gone(ref.document_ref)
        passages: list[Body] = batch.body["passages"]
        vectors = await self._space.embed([documents.embedded_text(passage) for passage in passages])
        ready = [
            Upsert({**passage, "embedding": vector, **self._ttl})
            for passage, vector in zip(passages, vectors, strict=True)
        ]
        for at in range(0, len(ready), WRITE_PASSAGES):
            await self._store.batch(MEMORIES, partition, ready[at : at + WRITE_PASSAGES])
        return len(passages)

    async def publish(self, ref: DocumentRef) -> int:
        """Make a document known, when all its batches are embedded; returns how many passages it has.

        Raises:
            IngestionFailed: It was removed while it was ingested.
        """
        partition = _partition(ref)
        load = await self._load(ref)
        if load is not None:
            loaded = LoadedDocument(ref.document, load["title"], load["passages"], datetime.now(UTC))
            with suppress(DocumentExists):  # By an earlier attempt, or by another ingestion of the same document.
                await self._store.create(MEMORIES, partition, documents.from_loaded(loaded) | self._ttl)
            await self._clear(ref, load)
        published = await self._published(ref)
        if published is None:
            raise _gone(ref)
        return published.passages

    async def discard(self, ref: DocumentRef) -> int:
        """Remove what is left of a document that failed, unless another ingestion has published it."""
        load = await self._load(ref)
        if load is not None and await self._published(ref) is None:
            await delete_passages(self._store, _partition(ref), ref.document)
            await self._clear(ref, load)
        return 0

    async def _load(self, ref: DocumentRef) -> Body | None:
        """What an ingestion knows of a document; None when it is published already.

        Raises:
            IngestionFailed: It is neither.
        """
        stored = await self._store.read(MEMORIES, _partition(ref), documents.load_id(ref.document))
        if stored is None and await self._published(ref) is None:
            raise _gone(ref)
        return stored.body if stored else None

    async def _published(self, ref: DocumentRef) -> LoadedDocument | None:
        stored = await self._store.read(MEMORIES, _partition(ref), ref.document)
        return documents.to_loaded(stored.body) if stored and stored.body["type"] == documents.DOCUMENT else None

    async def _clear(self, ref: DocumentRef, load: Body) -> None:
        names = [documents.raw_id(ref.document, number) for number in range(load["pieces"])]
        names += [documents.batch_id(ref.document, number) for number in range(load.get("batches", 0))]
        # The load goes last: without it a repeated attempt would not know what is left to remove.
        for name in [*names, documents.load_id(ref.document)]:
            try:
                await self._store.delete(MEMORIES, _partition(ref), name)
            except DocumentMissing:
                continue  # Removed by an earlier attempt, or expired.


async def delete_passages(store: Documents, partition: Partition, document: str) -> None:
    """Delete every passage of a document, page by page."""
    while True:
        prefix = documents.chunk_prefix(document)
        page = await store.page(MEMORIES, partition, id_prefix=prefix, limit=CLEAR_DOCUMENTS)
        if not page.items:
            return
        operations: Sequence[Operation] = [Delete(stored.body["id"]) for stored in page.items]
        try:
            await store.batch(MEMORIES, partition, operations)
        except DocumentMissing:
            continue  # Somebody else is deleting them, too; the next page shows what is left.


def _gone(ref: DocumentRef) -> IngestionFailed:
    return IngestionFailed(f"Document {ref.document} was removed while it was being ingested. Post it again.")


def _partition(ref: DocumentRef) -> Partition:
    return ref.tenant, ref.user


def _staged(id: str, type: str, **fields: object) -> Body:
    return {"id": id, "type": type, "ttl": documents.STAGED_SECONDS, **fields}
