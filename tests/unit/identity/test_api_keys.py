"""API keys: in the store, and as they are checked."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from perdure.documents.containers import CONTROLS
from perdure.documents.port import Documents
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.principal import Principal
from perdure.identity.api_keys import ADMIN, FRESH_SECONDS, ApiKeys
from perdure.identity.errors import CredentialRefused
from perdure.stores.keys import PARTITION, KeyStore
from tests.counting_documents import CountingDocuments

pytestmark = pytest.mark.anyio

ANN = Principal("acme", "ann", frozenset({"task:run", "task:read"}))
ADMIN_KEY = "V7mJ0xqk3Tn9sLwB5cRyHd2uZf8gPeAa"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def counting() -> AsyncIterator[CountingDocuments]:
    documents = SqliteDocuments(":memory:")
    yield CountingDocuments(documents)
    await documents.close()


@pytest.fixture
def store(counting: CountingDocuments) -> KeyStore:
    return KeyStore(cast("Documents", counting))


async def refused(keys: ApiKeys, text: str) -> None:
    with pytest.raises(CredentialRefused):
        await keys.check(text)


async def test_a_key_is_its_owners(store: KeyStore) -> None:
    issued = await store.issue(ANN)
    assert await ApiKeys(store).check(issued.text) == ANN


async def test_neither_key_nor_secret_is_stored(store: KeyStore, counting: CountingDocuments) -> None:
    issued = await store.issue(ANN, "for tests")
    page = await counting.page(CONTROLS, PARTITION)
    stored = json.dumps([item.body for item in page.items])
    assert issued.key.id in stored
    assert issued.text.split("_", 2)[2] not in stored
    assert issued.text not in repr(issued)


async def test_a_key_costs_one_read_and_then_none_for_a_minute(store: KeyStore, counting: CountingDocuments) -> None:
    clock = Clock()
    keys = ApiKeys(store, clock=clock)
    text = (await store.issue(ANN)).text
    counting.reset()
    for _ in range(10):
        await keys.check(text)
        clock.now += (FRESH_SECONDS - 1) / 10
    assert counting.requests == Counter({"read": 1})
    clock.now += FRESH_SECONDS
    await keys.check(text)
    assert counting.requests == Counter({"read": 2})


async def test_many_who_present_a_key_at_the_same_time_cost_one_read(
    store: KeyStore, counting: CountingDocuments
) -> None:
    keys = ApiKeys(store)
    text = (await store.issue(ANN)).text
    counting.reset()
    assert await asyncio.gather(*(keys.check(text) for _ in range(64))) == [ANN] * 64
    assert counting.requests == Counter({"read": 1})


async def test_one_who_goes_away_does_not_take_the_answer_from_the_others(store: KeyStore) -> None:
    keys = ApiKeys(store)
    text = (await store.issue(ANN)).text
    first, second = asyncio.create_task(keys.check(text)), asyncio.create_task(keys.check(text))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ANN


async def test_an_unknown_key_and_a_wrong_secret_cost_the_same_and_are_asked_for_each_time(
    store: KeyStore, counting: CountingDocuments
) -> None:
    keys = ApiKeys(store)
    one, two = (await store.issue(ANN)).text, (await store.issue(ANN)).text
    await keys.check(one)
    mixed = "_".join([*one.split("_")[:2], two.split("_", 2)[2]])
    unknown = f"pdk_0123456789abcdef0123_{one.split('_', 2)[2]}"
    for wrong in (mixed, unknown, mixed, unknown):
        counting.reset()
        await refused(keys, wrong)
        assert counting.requests == Counter({"read": 1})


@pytest.mark.parametrize(
    "text", ["", "pdk", "pdk_", "pdk__", "pdk_x", "x_y_z", "pdk_../.._x", "é", f"pdk_{'0' * 5000}_x"]
)
async def test_what_is_no_key_is_refused(store: KeyStore, text: str) -> None:
    await refused(ApiKeys(store), text)


async def test_a_revoked_key_works_for_a_minute_at_most(store: KeyStore) -> None:
    clock = Clock()
    here, elsewhere = ApiKeys(store, clock=clock), ApiKeys(store, clock=clock)
    issued = await store.issue(ANN)
    await here.check(issued.text)
    await elsewhere.check(issued.text)
    assert await store.revoke("acme", issued.key.id)
    here.forget(issued.key.id)
    await refused(here, issued.text)
    assert await elsewhere.check(issued.text) == ANN
    clock.now += FRESH_SECONDS
    await refused(elsewhere, issued.text)


async def test_a_key_expires_at_once_even_where_it_is_remembered(store: KeyStore) -> None:
    keys = ApiKeys(store)
    moment = datetime.now(UTC) + timedelta(seconds=0.5)
    text = (await store.issue(ANN, expires_at=moment)).text
    await keys.check(text)
    await asyncio.sleep((moment - datetime.now(UTC)).total_seconds() + 0.01)
    await refused(keys, text)
    await refused(ApiKeys(store), text)


async def test_an_expired_key_is_listed_a_while_longer(store: KeyStore, counting: CountingDocuments) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    issued = await store.issue(ANN, expires_at=past)
    await refused(ApiKeys(store), issued.text)
    assert (await store.page("acme", limit=10, continuation=None)).keys == [issued.key]
    [stored] = (await counting.page(CONTROLS, PARTITION)).items
    assert stored.body["ttl"] == pytest.approx(29 * 24 * 3600, abs=5)


async def test_no_more_keys_are_remembered_than_fit(
    store: KeyStore, counting: CountingDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.identity.api_keys.MOST_KNOWN", 3)
    keys = ApiKeys(store)
    texts = [(await store.issue(ANN)).text for _ in range(5)]
    for text in texts:
        await keys.check(text)
    counting.reset()
    for text in [*texts[2:], texts[0]]:
        await keys.check(text)
    assert counting.requests == Counter({"read": 1})


async def test_the_admin_key_of_the_settings_needs_no_store(store: KeyStore, counting: CountingDocuments) -> None:
    keys = ApiKeys(store, ADMIN_KEY)
    assert await keys.check(ADMIN_KEY) == ADMIN
    assert counting.requests == Counter()
    await refused(keys, ADMIN_KEY[:-1])
    await refused(keys, f"{ADMIN_KEY} ")
    await refused(ApiKeys(store), ADMIN_KEY)


@pytest.mark.parametrize(("tenant", "user"), [("system", "ann"), ("", "ann"), ("acme", "a b"), ("acme", "ann\n")])
async def test_nobody_may_be_called_so(store: KeyStore, tenant: str, user: str) -> None:
    with pytest.raises(ValueError, match="name"):
        await store.issue(Principal(tenant, user, frozenset()))


async def test_a_tenants_keys_are_listed_newest_first_and_no_others(store: KeyStore) -> None:
    made = [(await store.issue(ANN, f"key {number}")).key for number in range(3)]
    other = (await store.issue(Principal("globex", "ann", ANN.scopes))).key
    first = await store.page("acme", limit=2, continuation=None)
    rest = await store.page("acme", limit=2, continuation=first.continuation)
    assert {key.id for key in first.keys + rest.keys} == {key.id for key in made}
    assert [key.id for key in first.keys + rest.keys] == sorted((key.id for key in made), reverse=True)
    assert await store.get("acme", other.id) is None
    assert not await store.revoke("acme", other.id)
    assert await store.get("globex", other.id) == other


async def test_a_key_is_revoked_once(store: KeyStore) -> None:
    key = (await store.issue(ANN)).key
    assert await store.revoke("acme", key.id)
    assert not await store.revoke("acme", key.id)
