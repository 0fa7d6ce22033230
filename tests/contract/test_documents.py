"""What every adapter of the storage port must do, word for word the same for each."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from perdure.documents.containers import CONTROLS, MEMORIES, TASKS
from perdure.documents.port import (
    MAX_AMOUNTS,
    MAX_DOCUMENT_BYTES,
    MAX_ID_BYTES,
    Create,
    Delete,
    DocumentChanged,
    DocumentExists,
    DocumentMissing,
    Documents,
    DocumentTooLarge,
    Increment,
    StoreUnavailable,
    Upsert,
)

pytestmark = [
    pytest.mark.anyio,
    # Cosmos: aiohttp's advice for bodies over 1 MB. The SDK does not take it, and 2 MB hold the loop for a moment only.
    pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning"),
]

HERE = ("contoso", "t1")
ELSEWHERE = ("contoso", "t2")
OTHER_TENANT = ("fabrikam", "t1")


async def ids(store: Documents, partition: tuple[str, ...] = HERE) -> list[str]:
    return [stored.body["id"] for stored in (await store.page(TASKS, partition)).items]


async def test_a_created_document_is_read_back_with_its_partition_key(store: Documents) -> None:
    created = await store.create(
        TASKS, HERE, {"id": "a", "text": "naïve ☕ \u0000 \U0001f600", "deep": {"list": [1, None]}}
    )
    read = await store.read(TASKS, HERE, "a")
    assert read is not None
    assert read == created
    assert read.body == {
        "id": "a", "text": "naïve ☕ \u0000 \U0001f600", "deep": {"list": [1, None]},
        "tenantId": "contoso", "taskId": "t1",
    }  # fmt: skip


async def test_an_id_is_unique_within_its_partition_and_container_only(store: Documents) -> None:
    await store.create(TASKS, HERE, {"id": "a"})
    with pytest.raises(DocumentExists, match="'a' in tasks/contoso/t1"):
        await store.create(TASKS, HERE, {"id": "a"})
    for container, partition in ((TASKS, ELSEWHERE), (TASKS, OTHER_TENANT), (CONTROLS, HERE)):
        await store.create(container, partition, {"id": "a"})


async def test_what_is_not_there_reads_as_none(store: Documents) -> None:
    await store.create(TASKS, ELSEWHERE, {"id": "a"})
    assert await store.read(TASKS, HERE, "a") is None


async def test_several_documents_are_read_at_once_and_missing_ones_left_out(store: Documents) -> None:
    for name in ("a", "b/c", "d"):
        await store.create(TASKS, HERE, {"id": name})
    await store.create(TASKS, ELSEWHERE, {"id": "e"})
    found = await store.read_many(TASKS, HERE, ["d", "b/c", "e", "nothing"])
    assert sorted(stored.body["id"] for stored in found) == ["b/c", "d"]
    for stored in found:
        assert stored == await store.read(TASKS, HERE, stored.body["id"])
    assert await store.read_many(TASKS, HERE, []) == []


async def test_replace_takes_the_current_etag_only(store: Documents) -> None:
    first = await store.create(TASKS, HERE, {"id": "a", "n": 1})
    second = await store.replace(TASKS, HERE, {"id": "a", "n": 2}, first.etag)
    with pytest.raises(DocumentChanged, match="'a' in tasks"):
        await store.replace(TASKS, HERE, {"id": "a", "n": 3}, first.etag)
    with pytest.raises(DocumentMissing):
        await store.replace(TASKS, HERE, {"id": "b"}, second.etag)
    assert await store.read(TASKS, HERE, "a") == second


async def test_an_etag_is_never_used_again_for_the_same_id(store: Documents) -> None:
    first = await store.create(TASKS, HERE, {"id": "a"})
    await store.delete(TASKS, HERE, "a")
    second = await store.create(TASKS, HERE, {"id": "a"})
    assert second.etag != first.etag


async def test_upsert_adds_and_then_overwrites(store: Documents) -> None:
    await store.upsert(TASKS, HERE, {"id": "a", "n": 1, "old": True})
    await store.upsert(TASKS, HERE, {"id": "a", "n": 2})
    read = await store.read(TASKS, HERE, "a")
    assert read is not None
    assert (read.body["n"], "old" in read.body) == (2, False)


async def test_delete_removes_one_document_and_says_when_there_is_none(store: Documents) -> None:
    await store.create(TASKS, HERE, {"id": "a"})
    await store.create(TASKS, HERE, {"id": "b"})
    await store.delete(TASKS, HERE, "a")
    with pytest.raises(DocumentMissing):
        await store.delete(TASKS, HERE, "a")
    assert await ids(store) == ["b"]


async def test_concurrent_increments_all_count(store: Documents) -> None:
    await store.create(CONTROLS, HERE, {"id": "usage", "tokens": 5})
    await asyncio.gather(*(store.increment(CONTROLS, HERE, "usage", {"tokens": 2, "usd": 0.5}) for _ in range(50)))
    read = await store.read(CONTROLS, HERE, "usage")
    assert read is not None
    assert (read.body["tokens"], read.body["usd"]) == (105, 25.0)
    with pytest.raises(DocumentMissing):
        await store.increment(CONTROLS, HERE, "nobody", {"tokens": 1})


async def test_of_concurrent_creates_of_one_id_exactly_one_succeeds(store: Documents) -> None:
    results = await asyncio.gather(
        *(store.create(TASKS, HERE, {"id": "a", "n": n}) for n in range(20)), return_exceptions=True
    )
    assert sum(isinstance(result, DocumentExists) for result in results) == 19


async def test_a_document_over_the_limit_is_refused_with_its_size(store: Documents) -> None:
    await store.create(TASKS, HERE, {"id": "fits", "text": "x" * (MAX_DOCUMENT_BYTES - 100)})
    with pytest.raises(DocumentTooLarge, match="2,093,056"):
        await store.create(TASKS, HERE, {"id": "big", "text": "é" * (MAX_DOCUMENT_BYTES // 2)})


@pytest.mark.parametrize("odd", ["a/b", "a\\b", "a?b", "a#b", "a'b", 'a"b', "ä", "%", "_", " ", "", "\U0001f600"])
async def test_odd_characters_in_partitions_and_values_are_only_characters(store: Documents, odd: str) -> None:
    await store.create(TASKS, (odd, odd), {"id": "a", "text": odd, "user": odd})
    await store.create(TASKS, (odd, "other"), {"id": "b", "user": "somebody"})
    page = await store.page(TASKS, (odd,), where={"user": odd})
    assert [stored.body["id"] for stored in page.items] == ["a"]
    assert await store.read(TASKS, (odd, odd), "a") == page.items[0]


async def test_a_document_with_a_ttl_is_gone_when_its_time_is_up(
    store: Documents, advance: Callable[[float], None]
) -> None:
    await store.create(TASKS, HERE, {"id": "short", "ttl": 60})
    await store.create(TASKS, HERE, {"id": "long"})
    advance(50)
    assert await ids(store) == ["long", "short"]
    await store.upsert(TASKS, HERE, {"id": "short", "ttl": 60})
    advance(50)
    assert await store.read(TASKS, HERE, "short") is not None
    advance(10)
    assert await store.read(TASKS, HERE, "short") is None
    assert await ids(store) == ["long"]
    assert [change.body["id"] for change in await store.changes(TASKS, HERE, None, 10)] == ["long"]
    with pytest.raises(DocumentMissing):
        await store.increment(TASKS, HERE, "short", {"n": 1})
    with pytest.raises(DocumentMissing):
        await store.delete(TASKS, HERE, "short")
    await store.create(TASKS, HERE, {"id": "short"})


async def test_an_increment_renews_the_time_to_live(store: Documents, advance: Callable[[float], None]) -> None:
    await store.create(CONTROLS, HERE, {"id": "window", "n": 1, "ttl": 60})
    advance(50)
    await store.increment(CONTROLS, HERE, "window", {"n": 1})
    advance(50)
    stored = await store.read(CONTROLS, HERE, "window")
    assert stored is not None
    assert (stored.body["n"], stored.body["ttl"]) == (2, 60)


async def test_a_closed_store_says_that_it_is_unavailable(store: Documents) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.read(TASKS, HERE, "a")
    await store.close()


ODD_IDS = [
    "a/b", "a\\b", "a?b", "a#b", "..", ".", "", " ", "a b ", "%2F", "a+b", "~", "~~", "~2F", "'\"", "ä☕\U0001f600",
    "\t\n\0", "/", "x" * MAX_ID_BYTES, "é" * (MAX_ID_BYTES // 2),
]  # fmt: skip


@pytest.mark.parametrize("id", ODD_IDS)
async def test_odd_characters_in_ids_are_only_characters(store: Documents, id: str) -> None:
    created = await store.create(TASKS, HERE, {"id": id, "n": 1})
    with pytest.raises(DocumentExists):
        await store.create(TASKS, HERE, {"id": id})
    assert await store.read(TASKS, HERE, id) == created
    replaced = await store.replace(TASKS, HERE, {"id": id, "n": 2}, created.etag)
    assert await store.read(TASKS, HERE, id) == replaced
    counted = await store.increment(TASKS, HERE, id, {"n": 1})
    assert (counted.body["id"], counted.body["n"]) == (id, 3)
    await store.batch(TASKS, HERE, [Delete(id), Create({"id": id, "n": 4})])
    [change] = await store.changes(TASKS, HERE, None, 10)
    assert (change.body["id"], change.body["n"]) == (id, 4)
    assert await ids(store) == [id]
    await store.delete(TASKS, HERE, id)
    assert await store.read(TASKS, HERE, id) is None


async def test_an_id_over_the_limit_is_refused_and_stands_for_nothing(store: Documents) -> None:
    id = "é" * MAX_ID_BYTES
    with pytest.raises(DocumentTooLarge, match="682 bytes; an id may have 341"):
        await store.create(TASKS, HERE, {"id": id})
    assert await store.read(TASKS, HERE, id) is None
    with pytest.raises(DocumentMissing):
        await store.delete(TASKS, HERE, id)
    with pytest.raises(DocumentMissing):
        await store.increment(TASKS, HERE, id, {"n": 1})


@pytest.mark.parametrize(
    "wrong",
    [{"ttl": 0}, {"ttl": -1}, {"ttl": 1.5}, {"ttl": "60"}, {"ttl": None}, {"_ts": 1}, {"n": math.nan}, {"s": "\ud800"}],
    ids=str,
)
async def test_what_no_database_takes_is_refused_before_it_is_sent(store: Documents, wrong: dict[str, Any]) -> None:
    for write in (store.create, store.upsert):
        with pytest.raises(ValueError, match=r"ttl|underscore|JSON|surrogates"):
            await write(TASKS, HERE, {"id": "a", **wrong})
    with pytest.raises(ValueError, match=r"ttl|underscore|JSON|surrogates"):
        await store.batch(TASKS, HERE, [Create({"id": "b"}), Upsert({"id": "a", **wrong})])
    assert await ids(store) == []


async def test_an_increment_counts_what_is_absent_as_zero_and_takes_any_name(store: Documents) -> None:
    created = await store.create(CONTROLS, HERE, {"id": "a", "n": 3})
    counted = await store.increment(CONTROLS, HERE, "a", {"n": -5, "new": 0.5, "a/b": 1, "a~b": 2, "ä": 3})
    expected = {"n": -2, "new": 0.5, "a/b": 1, "a~b": 2, "ä": 3}
    assert {name: counted.body.get(name) for name in expected} == expected
    assert await store.read(CONTROLS, HERE, "a") == counted
    with pytest.raises(DocumentChanged):
        await store.replace(CONTROLS, HERE, {"id": "a"}, created.etag)


async def test_an_increment_of_more_numbers_than_any_adapter_takes_is_refused(store: Documents) -> None:
    await store.create(CONTROLS, HERE, {"id": "a"})
    most = {f"n{n}": 1.0 for n in range(MAX_AMOUNTS)}
    await store.increment(CONTROLS, HERE, "a", most)
    with pytest.raises(ValueError, match="10 numbers"):
        await store.increment(CONTROLS, HERE, "a", most | {"more": 1})
    with pytest.raises(ValueError, match="10 numbers"):
        await store.batch(CONTROLS, HERE, [Increment("a", most | {"more": 1})])


async def test_a_replace_does_not_bring_back_what_increments_added(store: Documents) -> None:
    await store.create(CONTROLS, HERE, {"id": "a", "n": 1})
    counted = await store.increment(CONTROLS, HERE, "a", {"n": 1})
    await store.replace(CONTROLS, HERE, {"id": "a", "n": 10}, counted.etag)
    assert (await store.increment(CONTROLS, HERE, "a", {"n": 1})).body["n"] == 11


async def test_of_concurrent_replaces_of_one_version_exactly_one_succeeds(store: Documents) -> None:
    first = await store.create(TASKS, HERE, {"id": "lease"})
    results = await asyncio.gather(
        *(store.replace(TASKS, HERE, {"id": "lease", "holder": n}, first.etag) for n in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, DocumentChanged) for result in results) == 19
    [winner] = [result for result in results if not isinstance(result, BaseException)]
    assert await store.read(TASKS, HERE, "lease") == winner


async def test_the_database_s_own_properties_are_never_shown(store: Documents) -> None:
    await store.create(MEMORIES, HERE, {"id": "a", "embedding": [1.0, 0.0]})
    await store.increment(MEMORIES, HERE, "a", {"n": 1})
    expected = {"id": "a", "embedding": [1.0, 0.0], "n": 1, "tenantId": "contoso", "scope": "t1"}
    [listed] = (await store.page(MEMORIES, HERE)).items
    [change] = await store.changes(MEMORIES, HERE, None, 10)
    [near] = await store.nearest(MEMORIES, HERE, [1.0, 0.0], limit=1)
    read = await store.read(MEMORIES, HERE, "a")
    assert read is not None
    assert [read.body, listed.body, change.body, near.body] == [expected] * 4
