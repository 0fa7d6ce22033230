"""Writes that are done together or not at all, the same for every adapter."""

import asyncio

import pytest

from perdure.documents.containers import TASKS
from perdure.documents.port import (
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_DOCUMENT_BYTES,
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
    Upsert,
    delete_unchanged,
    in_batches,
)
from tests.contract.test_documents import ELSEWHERE, HERE, ids

pytestmark = [
    pytest.mark.anyio,
    # Cosmos: aiohttp's advice for bodies over 1 MB. The SDK does not take it, and 2 MB hold the loop for a moment only.
    pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning"),
]


async def test_operations_cut_into_batches_are_all_done(store: Documents) -> None:
    operations = [Create({"id": f"{n:03}", "text": "é" * (n % 7) * 40_000}) for n in range(230)]
    batches = list(in_batches(operations, 99))
    assert max(map(len, batches)) <= 99
    assert [operation for batch in batches for operation in batch] == operations
    for batch in batches:
        await store.batch(TASKS, HERE, batch)
    assert len((await store.page(TASKS, HERE, limit=1000)).items) == 230


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


async def test_a_batch_over_the_limit_in_bytes_is_refused_whole(store: Documents) -> None:
    half = "x" * (MAX_BATCH_BYTES // 2 - 100)
    await store.batch(TASKS, HERE, [Create({"id": "a", "text": half}), Create({"id": "b", "text": half})])
    with pytest.raises(BatchTooLarge, match="2,060,288"):
        await store.batch(TASKS, ELSEWHERE, [Create({"id": str(n), "text": half}) for n in range(3)])
    assert await ids(store, ELSEWHERE) == []
