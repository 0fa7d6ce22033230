"""Listings, the change feed and vector search, the same for every adapter."""

import asyncio

import pytest

from perdure.documents.containers import MEMORIES, TASKS
from perdure.documents.port import (
    MAX_BATCH,
    MAX_DOCUMENT_BYTES,
    Create,
    Documents,
)
from tests.contract.test_documents import ELSEWHERE, HERE, ODD_IDS, OTHER_TENANT, ids

pytestmark = [
    pytest.mark.anyio,
    # Cosmos: aiohttp's advice for bodies over 1 MB. The SDK does not take it, and 2 MB hold the loop for a moment only.
    pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning"),
]


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
