"""What every adapter of the storage port must do, word for word the same for each."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from perdure.documents.containers import CONTROLS, MEMORIES, TASKS
from perdure.documents.port import (
    MAX_AMOUNTS,
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_DOCUMENT_BYTES,
    MAX_ID_BYTES,
    BatchTooLarge,
    Create,
    Delete,
    DocumentChanged,
    DocumentExists,
    DocumentMissing,
    Documents,
    DocumentTooLarge,
    Increment,
    Replace,
    StoreUnavailable,
    Upsert,
    delete_unchanged,
    in_batches,
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


async def test_operations_cut_into_batches_are_all_done(store: Documents) -> None:
    operations = [Create({"id": f"{n:03}", "text": "é" * (n % 7) * 40_000}) for n in range(230)]
    batches = list(in_batches(operations, 99))
    assert max(map(len, batches)) <= 99
    assert [operation for batch in batches for operation in batch] == operations
    for batch in batches:
        await store.batch(TASKS, HERE, batch)
    assert len((await store.page(TASKS, HERE, limit=1000)).items) == 230


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


async def test_a_batch_does_everything(store: Documents) -> None:
    stored = await store.create(TASKS, HERE, {"id": "replaced", "n": 1})
    await store.create(TASKS, HERE, {"id": "deleted"})
    await store.create(TASKS, HERE, {"id": "counted", "n": 1})
    await store.batch(
        TASKS,
        HERE,
        [
            Create({"id": "created"}),
            Upsert({"id": "upserted"}),
            Replace({"id": "replaced", "n": 2}, stored.etag),
            Delete("deleted"),
            Increment("counted", {"n": 4}),
        ],
    )
    bodies = {stored.body["id"]: stored.body.get("n") for stored in (await store.page(TASKS, HERE)).items}
    assert bodies == {"created": None, "upserted": None, "replaced": 2, "counted": 5}


@pytest.mark.parametrize(
    ("last", "error"),
    [
        (Create({"id": "there"}), DocumentExists),
        (Replace({"id": "there"}, "stale"), DocumentChanged),
        (Delete("missing"), DocumentMissing),
        (Increment("missing", {"n": 1}), DocumentMissing),
        (Create({"id": "big", "text": "x" * MAX_DOCUMENT_BYTES}), DocumentTooLarge),
    ],
)
async def test_a_batch_with_one_failing_operation_does_nothing(store: Documents, last: Create, error: type) -> None:
    await store.create(TASKS, HERE, {"id": "there"})
    with pytest.raises(error):
        await store.batch(TASKS, HERE, [Create({"id": "new"}), Upsert({"id": "there", "n": 1}), last])
    assert await ids(store) == ["there"]
    read = await store.read(TASKS, HERE, "there")
    assert read is not None
    assert "n" not in read.body


async def test_a_batch_over_the_limit_is_refused_whole(store: Documents) -> None:
    await store.batch(TASKS, HERE, [Create({"id": f"{n:03}"}) for n in range(MAX_BATCH)])
    with pytest.raises(BatchTooLarge, match="101"):
        await store.batch(TASKS, ELSEWHERE, [Create({"id": str(n)}) for n in range(MAX_BATCH + 1)])
    assert (len(await ids(store)), await ids(store, ELSEWHERE)) == (MAX_BATCH, [])


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


async def test_pages_follow_each_other_in_order_without_gap_or_repeat(store: Documents) -> None:
    names = [f"{n:02}" for n in range(10)]
    await store.batch(TASKS, HERE, [Create({"id": name}) for name in reversed(names)])
    for order, expected in (("ascending", names), ("descending", names[::-1])):
        seen: list[str] = []
        sizes: list[int] = []
        continuation = None
        while True:
            page = await store.page(TASKS, HERE, order=order, limit=4, continuation=continuation)
            seen += [stored.body["id"] for stored in page.items]
            sizes.append(len(page.items))
            if (continuation := page.continuation) is None:
                break
        assert (seen, sizes) == (expected, [4, 4, 2])


async def test_a_last_page_that_is_full_has_no_continuation(store: Documents) -> None:
    await store.batch(TASKS, HERE, [Create({"id": str(n)}) for n in range(4)])
    assert (await store.page(TASKS, HERE, limit=4)).continuation is None


async def test_listing_filters_by_type_properties_and_id_prefix(store: Documents) -> None:
    for name, type, user in (
        ("x-1", "task", "ann"),
        ("x-2", "step", "ann"),
        ("y-1", "task", "ann"),
        ("x-3", "task", "bob"),
    ):
        await store.create(TASKS, HERE, {"id": name, "type": type, "user": user})
    page = await store.page(TASKS, HERE, where={"type": "task", "user": "ann"})
    assert [stored.body["id"] for stored in page.items] == ["x-1", "y-1"]
    page = await store.page(TASKS, HERE, where={"type": "task"}, id_prefix="x-")
    assert [stored.body["id"] for stored in page.items] == ["x-1", "x-3"]


async def test_a_partition_prefix_lists_what_lies_below_it_and_nothing_beside(store: Documents) -> None:
    for number, partition in enumerate([HERE, ELSEWHERE, OTHER_TENANT, ("contoso-2", "t1"), ("conto", "so")]):
        await store.create(TASKS, partition, {"id": str(number)})
    assert await ids(store, ("contoso",)) == ["0", "1"]


async def test_changes_come_in_the_order_of_writing_and_each_document_once(store: Documents) -> None:
    for name in ("c", "a", "b"):
        await store.create(TASKS, HERE, {"id": name})
    await store.create(TASKS, ELSEWHERE, {"id": "not ours"})
    await store.upsert(TASKS, HERE, {"id": "c", "n": 2})
    changes = await store.changes(TASKS, HERE, None, 10)
    assert [(change.body["id"], change.body.get("n")) for change in changes] == [("a", None), ("b", None), ("c", 2)]


async def test_changes_go_on_from_any_cursor(store: Documents) -> None:
    for name in "abcd":
        await store.create(TASKS, HERE, {"id": name})
    first = await store.changes(TASKS, HERE, None, 2)
    rest = await store.changes(TASKS, HERE, first[0].cursor, 10)
    assert [change.body["id"] for change in rest] == ["b", "c", "d"]
    assert await store.changes(TASKS, HERE, rest[-1].cursor, 10) == []
    await store.upsert(TASKS, HERE, {"id": "a"})
    assert [change.body["id"] for change in await store.changes(TASKS, HERE, rest[-1].cursor, 10)] == ["a"]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 30, "٣"])
async def test_a_foreign_cursor_is_refused(store: Documents, cursor: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        await store.changes(TASKS, HERE, cursor, 10)


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


async def test_nearest_ranks_one_partition_by_cosine_similarity(store: Documents) -> None:
    vectors = {
        "same": [2.0, 0.0],
        "near": [1.0, 1.0],
        "across": [0.0, 3.0],
        "opposite": [-1.0, 0.0],
        "zero": [0.0, 0.0],
    }
    for name, vector in vectors.items():
        await store.create(MEMORIES, HERE, {"id": name, "type": "chunk", "embedding": vector})
    await store.create(MEMORIES, HERE, {"id": "no vector", "type": "chunk"})
    await store.create(MEMORIES, HERE, {"id": "other type", "type": "fact", "embedding": [1.0, 0.0]})
    await store.create(MEMORIES, ELSEWHERE, {"id": "other user", "type": "chunk", "embedding": [1.0, 0.0]})
    found = await store.nearest(MEMORIES, HERE, [1.0, 0.0], where={"type": "chunk"}, limit=3)
    assert [match.body["id"] for match in found][:2] == ["same", "near"]
    assert [match.score for match in found] == pytest.approx([1.0, 0.5**0.5, 0.0])


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


async def test_all_odd_ids_are_listed_page_by_page_and_by_prefix(store: Documents) -> None:
    await store.batch(TASKS, HERE, [Create({"id": id}) for id in ODD_IDS])
    seen: list[str] = []
    continuation = None
    while True:
        page = await store.page(TASKS, HERE, limit=3, continuation=continuation)
        seen += [stored.body["id"] for stored in page.items]
        if (continuation := page.continuation) is None:
            break
    assert sorted(seen) == sorted(ODD_IDS)
    page = await store.page(TASKS, HERE, id_prefix="~")
    assert sorted(stored.body["id"] for stored in page.items) == ["~", "~2F", "~~"]
    page = await store.page(TASKS, HERE, id_prefix="a/")
    assert [stored.body["id"] for stored in page.items] == ["a/b"]


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


async def test_an_empty_batch_does_nothing(store: Documents) -> None:
    await store.batch(TASKS, HERE, [])
    assert await ids(store) == []


async def test_a_document_is_deleted_as_it_was_read_or_not_at_all(store: Documents) -> None:
    read = await store.create(TASKS, HERE, {"id": "a", "n": 1})
    await store.increment(TASKS, HERE, "a", {"n": 1})
    with pytest.raises(DocumentChanged):
        await store.batch(TASKS, HERE, [Create({"id": "b"}), *delete_unchanged(read)])
    assert await store.read(TASKS, HERE, "b") is None
    now = await store.read(TASKS, HERE, "a")
    assert now
    await store.batch(TASKS, HERE, [Create({"id": "b"}), *delete_unchanged(now)])
    assert (await store.read(TASKS, HERE, "a"), (await store.read(TASKS, HERE, "b")) is not None) == (None, True)
    with pytest.raises(DocumentMissing):
        await store.batch(TASKS, HERE, delete_unchanged(now))


async def test_operations_of_a_batch_see_what_came_before_them(store: Documents) -> None:
    await store.create(TASKS, HERE, {"id": "b", "n": 1})
    await store.batch(
        TASKS,
        HERE,
        [
            Create({"id": "a", "n": 1}),
            Increment("a", {"n": 1}),
            Increment("a", {"n": 1}),
            Delete("b"),
            Create({"id": "b", "n": 7}),
        ],
    )
    assert {stored.body["id"]: stored.body["n"] for stored in (await store.page(TASKS, HERE)).items} == {"a": 3, "b": 7}


async def test_concurrent_batches_are_whole_each(store: Documents) -> None:
    await store.create(TASKS, HERE, {"id": "total", "n": 0})

    async def add(n: int) -> None:
        # Two of a kind share an id: one of them fails, and then counts nothing.
        await store.batch(TASKS, HERE, [Increment("total", {"n": 1}), Create({"id": f"part-{n // 2}"})])

    results = await asyncio.gather(*(add(n) for n in range(20)), return_exceptions=True)
    assert sum(isinstance(result, DocumentExists) for result in results) == 10
    total = await store.read(TASKS, HERE, "total")
    assert total is not None
    assert (total.body["n"], len(await ids(store))) == (10, 11)


async def test_of_concurrent_replaces_of_one_version_exactly_one_succeeds(store: Documents) -> None:
    first = await store.create(TASKS, HERE, {"id": "lease"})
    results = await asyncio.gather(
        *(store.replace(TASKS, HERE, {"id": "lease", "holder": n}, first.etag) for n in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, DocumentChanged) for result in results) == 19
    [winner] = [result for result in results if not isinstance(result, BaseException)]
    assert await store.read(TASKS, HERE, "lease") == winner


async def test_a_batch_over_the_limit_in_bytes_is_refused_whole(store: Documents) -> None:
    half = "x" * (MAX_BATCH_BYTES // 2 - 100)
    await store.batch(TASKS, HERE, [Create({"id": "a", "text": half}), Create({"id": "b", "text": half})])
    with pytest.raises(BatchTooLarge, match="2,060,288"):
        await store.batch(TASKS, ELSEWHERE, [Create({"id": str(n), "text": half}) for n in range(3)])
    assert await ids(store, ELSEWHERE) == []


async def test_big_documents_are_listed_whole(store: Documents) -> None:
    text = "é" * (MAX_DOCUMENT_BYTES // 2 - 100)
    for id in "abc":
        await store.create(TASKS, HERE, {"id": id, "text": text})
    page = await store.page(TASKS, HERE)
    assert [(stored.body["id"], stored.body["text"] == text) for stored in page.items] == [(id, True) for id in "abc"]


async def test_pages_show_all_that_was_there_whatever_is_written_meanwhile(store: Documents) -> None:
    there = [f"{n:02}-there" for n in range(20)]
    await store.batch(TASKS, HERE, [Create({"id": id}) for id in there])
    seen: list[str] = []
    continuation = None
    for n in range(100):
        page = await store.page(TASKS, HERE, limit=3, continuation=continuation)
        seen += [stored.body["id"] for stored in page.items]
        if (continuation := page.continuation) is None:
            break
        await asyncio.gather(*(store.create(TASKS, HERE, {"id": f"{m:02}-{n}"}) for m in {0, n, 19}))
    assert seen == sorted(set(seen))
    assert [id for id in seen if id.endswith("there")] == there


async def test_listing_filters_by_any_string_and_finds_nothing_by_an_absent_property(store: Documents) -> None:
    await store.create(TASKS, HERE, {"id": "a", "user": "x' OR 1=1 --"})
    await store.create(TASKS, HERE, {"id": "b", "user": "@p0"})
    await store.create(TASKS, HERE, {"id": "c", "user": 1})
    for user, expected in (("x' OR 1=1 --", ["a"]), ("@p0", ["b"]), ("1", [])):
        page = await store.page(TASKS, HERE, where={"user": user})
        assert [stored.body["id"] for stored in page.items] == expected
    assert (await store.page(TASKS, HERE, where={"absent": "x"})).items == []


async def test_no_change_is_missed_however_many_are_written_in_one_second(store: Documents) -> None:
    writing = True
    seen: dict[str, int] = {}

    async def follow() -> None:
        cursor = None
        last_round = False
        while True:
            changes = await store.changes(TASKS, HERE, cursor, 7)
            for change in changes:
                assert change.body["n"] >= seen.get(change.body["id"], 0)
                seen[change.body["id"]] = change.body["n"]
                cursor = change.cursor
            if not changes:
                if last_round:
                    return
                last_round = not writing
                await asyncio.sleep(0)

    async def write(writer: int) -> None:
        for n in range(10):
            await store.upsert(TASKS, HERE, {"id": f"{writer}-{n % 5}", "n": n})
            await store.create(TASKS, ELSEWHERE, {"id": f"{writer}-{n}", "n": n})
            await store.batch(TASKS, HERE, [Create({"id": f"{writer}-batch-{n}-{m}", "n": n}) for m in range(3)])

    following = asyncio.create_task(follow())
    await asyncio.gather(*(write(writer) for writer in range(5)))
    writing = False
    await following
    expected = {f"{writer}-{n % 5}": n for writer in range(5) for n in range(10)}
    expected |= {f"{writer}-batch-{n}-{m}": n for writer in range(5) for n in range(10) for m in range(3)}
    assert seen == expected


async def test_changes_go_past_a_batch_that_is_larger_than_the_limit(store: Documents) -> None:
    await store.batch(TASKS, HERE, [Create({"id": f"{n:02}"}) for n in range(20)])
    await store.create(TASKS, HERE, {"id": "after"})
    seen: list[str] = []
    cursor = None
    while changes := await store.changes(TASKS, HERE, cursor, 5):
        seen += [change.body["id"] for change in changes]
        cursor = changes[-1].cursor
    assert seen == [*(f"{n:02}" for n in range(20)), "after"]


async def test_changes_are_found_among_many_of_other_partitions(store: Documents) -> None:
    await store.create(TASKS, HERE, {"id": "first"})
    await store.batch(TASKS, ELSEWHERE, [Create({"id": f"{n:02}"}) for n in range(MAX_BATCH)])
    await store.batch(TASKS, OTHER_TENANT, [Create({"id": f"{n:02}"}) for n in range(MAX_BATCH)])
    await store.create(TASKS, HERE, {"id": "last"})
    [first] = await store.changes(TASKS, HERE, None, 1)
    [last] = await store.changes(TASKS, HERE, first.cursor, 10)
    assert (first.body["id"], last.body["id"]) == ("first", "last")


async def test_nearest_of_an_empty_partition_is_nothing(store: Documents) -> None:
    assert await store.nearest(MEMORIES, HERE, [1.0, 0.0], limit=3) == []


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
