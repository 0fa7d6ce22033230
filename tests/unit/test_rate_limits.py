"""Requests counted and refused, by one instance and by several that share a store."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.api import limits
from perdure.api.limits import WINDOW_SECONDS, RateLimiter
from perdure.api.problems import TooManyRequests
from perdure.documents.port import StoreUnavailable
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.principal import Principal
from perdure.stores.rates import RateStore

pytestmark = pytest.mark.anyio
ANN, BOB, OTHER_ANN = (Principal(t, u, frozenset()) for t, u in (("t", "ann"), ("t", "bob"), ("other", "ann")))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000 * WINDOW_SECONDS + 15.0

    def __call__(self) -> float:
        return self.now


class Counting(RateStore):
    """Counts how often the store is asked, and may be away."""

    asked, away = 0, False

    async def grant(self, *args: Any) -> int:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        return await super().grant(*args)


@pytest.fixture
async def documents() -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(":memory:")
    yield documents
    await documents.close()


def limiter(documents: SqliteDocuments, clock: Clock, limit: int = 20) -> tuple[RateLimiter, Counting]:
    store = Counting(documents)
    return RateLimiter(store, {"start": limit, "read": 0}, clock), store


async def admitted(one: RateLimiter, who: Principal = ANN) -> bool:
    try:
        await one.count(who, "start")
    except TooManyRequests:
        return False
    return True


async def test_exactly_the_limit_is_let_in_and_a_new_minute_begins_anew(documents: SqliteDocuments) -> None:
    clock = Clock()
    one, store = limiter(documents, clock)
    assert [await admitted(one) for _ in range(25)] == [True] * 20 + [False] * 5
    assert store.asked <= limits.BLOCKS
    assert await admitted(one, BOB)
    assert await admitted(one, OTHER_ANN)
    clock.now += WINDOW_SECONDS
    assert await admitted(one)


async def test_sixty_four_at_once_are_let_in_up_to_the_limit(documents: SqliteDocuments) -> None:
    one, _ = limiter(documents, Clock())
    assert sum(await asyncio.gather(*(admitted(one) for _ in range(64)))) == 20


async def test_several_instances_never_let_in_more_than_the_limit(documents: SqliteDocuments) -> None:
    clock = Clock()
    several = [limiter(documents, clock)[0] for _ in range(4)]
    answers = await asyncio.gather(*(admitted(one) for _ in range(16) for one in several))
    assert 14 <= sum(answers) <= 20


async def test_what_is_left_is_told_and_when_to_come_back(documents: SqliteDocuments) -> None:
    one, _ = limiter(documents, Clock(), limit=2)
    told = await one.count(ANN, "start")
    assert told == {"RateLimit-Policy": '"start";q=2;w=60', "RateLimit": '"start";r=1;t=45'}
    await one.count(ANN, "start")
    with pytest.raises(TooManyRequests) as refused:
        await one.count(ANN, "start")
    assert refused.value.headers
    assert refused.value.headers["Retry-After"] == "45"
    assert refused.value.headers["RateLimit"] == '"start";r=0;t=45'


async def test_a_limit_of_nothing_counts_nothing(documents: SqliteDocuments) -> None:
    one, store = limiter(documents, Clock())
    assert await one.count(ANN, "read") == {}
    assert store.asked == 0


async def test_while_the_store_is_away_each_instance_counts_by_itself(documents: SqliteDocuments) -> None:
    one, store = limiter(documents, Clock())
    store.away = True
    assert [await admitted(one) for _ in range(25)] == [True] * 20 + [False] * 5


async def test_memory_is_bounded(documents: SqliteDocuments, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_USERS", 3)
    one, _ = limiter(documents, Clock())
    for number in range(10):
        await one.count(Principal("t", f"user-{number}", frozenset()), "start")
    assert len(one._grants) == 3  # pyright: ignore[reportPrivateUsage] - nothing else shows it.
