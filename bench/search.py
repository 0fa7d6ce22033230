"""Search in memory: the passages nearest to a query among 10,000, in the embedded store."""

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.table import Row
from perdure.documents.containers import MEMORIES
from perdure.documents.port import Upsert
from perdure.documents.sqlite import SqliteDocuments

PASSAGES = 10_000
TEXT = "word " * 200
USER = ("bench", "user")
BATCH = 100


def search(runs: int) -> Iterator[Row]:
    """Time a search with the vectors of feature hashing and with those of text-embedding-3-small."""
    for dimensions in (512, 1536):
        with tempfile.TemporaryDirectory() as folder:
            samples = asyncio.run(_timed(Path(folder) / "state.db", dimensions, runs))
        yield Row(f"search {PASSAGES:,} passages of {dimensions} dimensions", "ms", samples, [])


async def _timed(path: Path, dimensions: int, runs: int) -> list[float]:
    chance = random.Random(dimensions)
    store = SqliteDocuments(str(path))

    def vector() -> list[float]:
        return [round(chance.gauss(0, 0.04), 6) for _ in range(dimensions)]

    for at in range(0, PASSAGES, BATCH):
        ids = [f"{n:05}" for n in range(at, at + BATCH)]
        passages = [Upsert({"id": id, "type": "chunk", "text": TEXT, "embedding": vector()}) for id in ids]
        await store.batch(MEMORIES, USER, passages)
    samples: list[float] = []
    for _ in range(runs + 1):
        query = vector()
        started = time.perf_counter()
        await store.nearest(MEMORIES, USER, query, where={"type": "chunk"}, limit=5)
        samples.append((time.perf_counter() - started) * 1000)
    await store.close()
    return samples[1:]  # The first one also imports numpy.
