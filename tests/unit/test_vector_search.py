"""Search by vector in SQLite, beyond what every adapter must do."""

import math
import random
import time
from collections.abc import AsyncIterator

import pytest

from perdure.documents.containers import MEMORIES
from perdure.documents.port import Upsert
from perdure.documents.sqlite import SqliteDocuments

pytestmark = pytest.mark.anyio

HERE = ("t", "ann")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(":memory:", clock)
    yield documents
    await documents.close()


async def found(store: SqliteDocuments, vector: list[float], limit: int = 10) -> list[str]:
    return [match.body["id"] for match in await store.nearest(MEMORIES, HERE, vector, limit=limit)]


async def test_the_ranking_is_that_of_exact_cosines(store: SqliteDocuments) -> None:
    chance = random.Random(5)
    vectors = {f"{n:03}": [chance.gauss(0, 1) for _ in range(24)] for n in range(300)}
    for id, vector in vectors.items():
        await store.create(MEMORIES, HERE, {"id": id, "embedding": vector})
    query = [chance.gauss(0, 1) for _ in range(24)]

    def cosine(vector: list[float]) -> float:
        return math.sumprod(vector, query) / math.hypot(*vector) / math.hypot(*query)

    expected = sorted(vectors, key=lambda id: cosine(vectors[id]), reverse=True)[:20]
    matches = await store.nearest(MEMORIES, HERE, query, limit=20)
    assert [match.body["id"] for match in matches] == expected
    assert [match.score for match in matches] == pytest.approx([cosine(vectors[id]) for id in expected], abs=1e-5)


async def test_a_body_is_read_back_with_its_embedding_digit_by_digit(store: SqliteDocuments) -> None:
    await store.create(MEMORIES, HERE, {"id": "a", "embedding": [0.1, 1 / 3]})
    stored = await store.read(MEMORIES, HERE, "a")
    assert stored
    assert stored.body["embedding"] == [0.1, 1 / 3]


async def test_a_search_never_sees_an_older_version(store: SqliteDocuments) -> None:
    await store.create(MEMORIES, HERE, {"id": "a", "embedding": [1.0, 0.0]})
    stored = await store.upsert(MEMORIES, HERE, {"id": "a", "embedding": [0.0, 1.0]})
    [match] = await store.nearest(MEMORIES, HERE, [1.0, 0.0], limit=1)
    assert match.score == 0.0
    await store.replace(MEMORIES, HERE, {"id": "a"}, stored.etag)
    assert await found(store, [1.0, 0.0]) == []


async def test_deleted_and_expired_documents_are_not_found(store: SqliteDocuments, clock: Clock) -> None:
    await store.create(MEMORIES, HERE, {"id": "deleted", "embedding": [1.0]})
    await store.create(MEMORIES, HERE, {"id": "expired", "embedding": [1.0], "ttl": 60})
    await store.create(MEMORIES, HERE, {"id": "stays", "embedding": [1.0]})
    await store.delete(MEMORIES, HERE, "deleted")
    clock.now = 61.0
    assert await found(store, [1.0]) == ["stays"]
    clock.now = 200.0  # By now the expired ones were swept away.
    await store.create(MEMORIES, HERE, {"id": "expired"})
    assert await found(store, [1.0]) == ["stays"]


async def test_vectors_of_another_length_are_an_error_and_not_a_wrong_ranking(store: SqliteDocuments) -> None:
    await store.create(MEMORIES, HERE, {"id": "a", "embedding": [1.0, 0.0, 0.0]})
    with pytest.raises(ValueError, match="2 dimensions cannot be compared with stored ones of 3"):
        await store.nearest(MEMORIES, HERE, [1.0, 0.0], limit=1)


async def test_equal_scores_come_in_the_order_of_their_ids(store: SqliteDocuments) -> None:
    for id in ("c", "a", "b"):
        await store.create(MEMORIES, HERE, {"id": id, "embedding": [1.0]})
    assert await found(store, [1.0]) == ["a", "b", "c"]
    assert await found(store, [0.0]) == ["a", "b", "c"]


async def test_ten_thousand_passages_are_searched_in_well_under_a_second(store: SqliteDocuments) -> None:
    """0.1 s where nothing else runs; reading the vectors as JSON took 1.6 s."""
    chance = random.Random(6)
    for at in range(0, 10_000, 100):
        batch = [
            Upsert({"id": f"{n:05}", "type": "chunk", "text": TEXT, "embedding": chance.choices(NUMBERS, k=512)})
            for n in range(at, at + 100)
        ]
        await store.batch(MEMORIES, HERE, batch)
    seconds: list[float] = []
    for _ in range(3):
        started = time.perf_counter()
        query = chance.choices(NUMBERS, k=512)
        assert len(await store.nearest(MEMORIES, HERE, query, where={"type": "chunk"}, limit=5)) == 5
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.7


TEXT = "word " * 200
NUMBERS = [n / 1000 for n in range(-500, 500)]
