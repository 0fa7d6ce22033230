"""Documents on their way into memory. What is written has deterministic ids, so every part may run again.

1. `stage` keeps the text, before the orchestration starts, and a load, which stands for the ingestion of the document.
2. `split` cuts it into passages and lays them down in batches.
3. `embed` turns one batch into searchable passages.
4. `publish` puts the document in place of the load, in one batch of writes: from then on it is listed and found. Then
   it clears up; `discard` clears up after a document that failed.

Without its load and not published, an ingestion is over: whatever of it still runs takes back what it wrote.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice

from perdure.documents.containers import MEMORIES
from perdure.documents.port import (
    Body,
    Create,
    Delete,
    DocumentChanged,
    DocumentExists,
    DocumentMissing,
    Documents,
    Operation,
    Partition,
    Stored,
    Upsert,
    delete_unchanged,
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

    async def note(self, tenant: str, user: str, orchestration: str) -> None:
        """Note that a user started an orchestration, before it is."""
        await self._store.upsert(MEMORIES, (tenant, user), _staged(orchestration, documents.INGESTION))

    async def stage(self, ref: DocumentRef, title: str, text: str) -> None:
        """Keep a document's text until it is ingested."""
        pieces = [text[at : at + RAW_CHARACTERS] for at in range(0, len(text), RAW_CHARACTERS)]
        for number, piece in enumerate(pieces):
            name = documents.raw_id(ref.document, ref.ingestion, number)
            await self._store.upsert(MEMORIES, _partition(ref), _staged(name, documents.RAW, text=piece))
        name = documents.load_id(ref.document, ref.ingestion)
        load = _staged(name, documents.LOAD, title=title, pieces=len(pieces))
        await self._store.create(MEMORIES, _partition(ref), load)

    async def split(self, ref: DocumentRef) -> int:
        """Cut a document into passages; returns how many batches they make: none when it is published already.

        Raises:
            IngestionFailed: It has too many passages, or its text is gone.
        """
        load = await self._load(ref)
        if load is None:
            return 0
        partition, title = _partition(ref), load.body["title"]
        names = [documents.raw_id(ref.document, ref.ingestion, number) for number in range(load.body["pieces"])]
        pieces = [await self._store.read(MEMORIES, partition, name) for name in names]
        if any(piece is None for piece in pieces):
            raise _gone(ref)
        text = "".join(piece.body["text"] for piece in pieces if piece)
        found = await asyncio.to_thread(lambda: list(islice(chunks(text), MAX_PASSAGES + 1)))
        if len(found) > MAX_PASSAGES:
            raise IngestionFailed(f"{title!r} falls into more than {MAX_PASSAGES:,} passages. Split it.")
        bodies = [documents.from_chunk(ref, title, number, chunk) for number, chunk in enumerate(found)]
        batches = [bodies[at : at + BATCH_PASSAGES] for at in range(0, len(bodies), BATCH_PASSAGES)]
        for number, batch in enumerate(batches):
            name = documents.batch_id(ref.document, ref.ingestion, number)
            await self._store.upsert(MEMORIES, partition, _staged(name, documents.BATCH, passages=batch))
        # Another attempt says the same; one that is over must not leave a load behind.
        with suppress(DocumentChanged, DocumentMissing):
            await self._store.replace(MEMORIES, partition, {**load.body, "passages": len(bodies)}, load.etag)
        return len(batches)

    async def embed(self, ref: BatchRef) -> int:
        """Embed one batch of passages and store them; returns how many. None of them is found before `publish`.

        Raises:
            IngestionFailed: The ingestion is over.
            EmbeddingsMismatch, ModelRejected: The passages cannot be embedded.
            ModelUnavailable: They can be later.
        """
        document, partition = ref.document_ref, _partition(ref.document_ref)
        batch = await self._store.read(MEMORIES, partition, documents.batch_id(ref.document, ref.ingestion, ref.batch))
        passages: list[Body] = batch.body["passages"] if batch else []
        vectors = await self._space.embed([documents.embedded_text(passage) for passage in passages])
        ready = [
            Upsert({**passage, "embedding": vector, **self._ttl})
            for passage, vector in zip(passages, vectors, strict=True)
        ]
        for at in range(0, len(ready), WRITE_PASSAGES):
            await self._store.batch(MEMORIES, partition, ready[at : at + WRITE_PASSAGES])
        # Asked after writing: whoever ended the ingestion before did not see these passages, or an earlier attempt's.
        await self._check_alive(document)
        return len(passages)

    async def publish(self, ref: DocumentRef) -> int:
        """Make a document known, when all its batches are embedded; returns how many passages it has.

        Raises:
            IngestionFailed: It was removed while it was ingested.
        """
        load = await self._load(ref)
        if load is not None:
            loaded = LoadedDocument(
                ref.document, ref.ingestion, load.body["title"], load.body["passages"], datetime.now(UTC)
            )
            # Together, so that a late repeat does not bring back a document that was removed since.
            publishing = [Create(documents.from_loaded(loaded) | self._ttl), *delete_unchanged(load)]
            with suppress(DocumentExists, DocumentMissing, DocumentChanged):
                await self._store.batch(MEMORIES, _partition(ref), publishing)
        await self.discard(ref)
        published = await self._published(ref)
        if published is None:
            raise _gone(ref)
        return published.passages

    async def discard(self, ref: DocumentRef) -> int:
        """Remove what an ingestion does not need any more: all of it, unless it published the document."""
        # The load first: without it the ingestion cannot publish, and what still runs of it takes back what it writes.
        with suppress(DocumentMissing):
            await self._store.delete(MEMORIES, _partition(ref), documents.load_id(ref.document, ref.ingestion))
        published = await self._published(ref)
        prefixes = documents.staged_prefixes(ref.document, ref.ingestion)
        if published is None or published.ingestion != ref.ingestion:
            prefixes += (documents.chunk_prefix(ref.document, ref.ingestion),)
        for prefix in prefixes:
            await delete_all(self._store, _partition(ref), prefix)
        return 0

    async def _check_alive(self, ref: DocumentRef) -> None:
        load = documents.load_id(ref.document, ref.ingestion)
        found = await self._store.read_many(MEMORIES, _partition(ref), [load, ref.document])
        if not any(one.body["id"] == load or one.body.get("ingestion") == ref.ingestion for one in found):
            await self.discard(ref)
            raise _gone(ref)

    async def _load(self, ref: DocumentRef) -> Stored | None:
        """What an ingestion knows of a document; None when the document is published already.

        Raises:
            IngestionFailed: It is neither.
        """
        stored = await self._store.read(MEMORIES, _partition(ref), documents.load_id(ref.document, ref.ingestion))
        if stored is None and await self._published(ref) is None:
            await self.discard(ref)
            raise _gone(ref)
        return stored

    async def _published(self, ref: DocumentRef) -> LoadedDocument | None:
        stored = await self._store.read(MEMORIES, _partition(ref), ref.document)
        return documents.to_loaded(stored.body) if stored and stored.body["type"] == documents.DOCUMENT else None


async def delete_all(store: Documents, partition: Partition, prefix: str) -> None:
    """Delete every document of a partition whose id begins so, page by page."""
    while True:
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
