"""One store, one embedding model: vectors of two models cannot be compared, so which one it is gets written down.

The model is recorded when the first vector is stored. A process that is configured for another one is told so at its
first use of the store's vectors, instead of ranking nonsense.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from perdure.documents.containers import MEMORIES
from perdure.documents.port import DocumentExists, Documents, Partition
from perdure.models.embeddings import Embeddings, Vector

PARTITION: Partition = ("system", "settings")
RECORD = "embeddings"


class EmbeddingsMismatch(Exception):
    """The store's vectors were made by another model than the one configured. The message says what to do."""


class EmbeddingSpace:
    """Embeds texts to be stored, and queries to compare them with."""

    def __init__(self, store: Documents, embeddings: Embeddings) -> None:
        self._store = store
        self._embeddings = embeddings
        self._checked = False

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts that are going to be stored.

        Raises:
            EmbeddingsMismatch, ModelUnavailable, ModelRejected: See there.
        """
        await self.claim()
        return await self._embeddings.embed(texts)

    async def query(self, text: str) -> Vector | None:
        """Embed a query; None when nothing can be near it, as nothing is stored or the text has no words.

        Raises:
            EmbeddingsMismatch, ModelUnavailable, ModelRejected: See there.
        """
        if not text.strip() or not await self.check():
            return None
        [vector] = await self._embeddings.embed([text])
        return vector if any(vector) else None

    async def claim(self) -> None:
        """Record the configured model as the store's own unless one is recorded. Raises EmbeddingsMismatch."""
        if not await self.check():
            record = {
                "id": RECORD,
                "type": "settings",
                "model": self._embeddings.model,
                "dimensions": self._embeddings.dimensions,
                "created_at": datetime.now(UTC).isoformat(),
            }
            with suppress(DocumentExists):
                await self._store.create(MEMORIES, PARTITION, record)
            # Whoever was first, we or another process, is right.
            await self.check()

    async def check(self) -> bool:
        """Compare the configured model with the recorded one; False when none is recorded yet.

        Raises:
            EmbeddingsMismatch: They differ.
        """
        if not self._checked:
            stored = await self._store.read(MEMORIES, PARTITION, RECORD)
            if stored is None:
                return False
            ours = (self._embeddings.model, self._embeddings.dimensions)
            theirs = (stored.body["model"], stored.body["dimensions"])
            if ours != theirs:
                raise EmbeddingsMismatch(
                    f"What is stored was embedded by {theirs[0]} with {theirs[1]} dimensions, but the app is set to "
                    f"{ours[0]} with {ours[1]}, and the two cannot be compared. Set PERDURE_EMBEDDING_MODEL and "
                    "PERDURE_EMBEDDING_DIMENSIONS back, or start with an empty store and load the documents again."
                )
            self._checked = True
        return True
