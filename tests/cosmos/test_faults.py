"""Every operation under every fault: it ends as it would have without, or says that the store is unavailable."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from perdure.documents.containers import CONTROLS, MEMORIES, TASKS, Container
from perdure.documents.cosmos import CosmosDocuments
from perdure.documents.cosmos_account import CosmosSettings
from perdure.documents.port import (
    Create,
    Delete,
    DocumentChanged,
    DocumentError,
    DocumentExists,
    DocumentMissing,
    Increment,
    Partition,
    Replace,
    StoreUnavailable,
    Upsert,
)
from tests.cosmos import fault_proxy
from tests.cosmos.fault_proxy import Fault, FaultProxy

pytestmark = pytest.mark.anyio

type Faults = Callable[[], None]
"""Lets the fault meet the next request."""

HERE = ("contoso", "t1")
PASSING = {name: fault for name, fault in vars(fault_proxy).items() if name.isupper() and isinstance(fault, Fault)} | {
    "SLOW": Fault(delay=0.05),
    "TWICE": fault_proxy.DROPPED_AND_DONE,
}


@pytest.fixture
async def store(settings: CosmosSettings, proxy: FaultProxy) -> AsyncIterator[CosmosDocuments]:
    documents = CosmosDocuments(replace(settings, endpoint=proxy.url, attempt=0.3, pauses=(0.01,) * 8, patience=20))
    await documents.read(TASKS, HERE, "opened")
    yield documents
    await documents.close()


async def body(
    store: CosmosDocuments, here: Partition, id: str, container: Container = TASKS
) -> dict[str, object] | None:
    stored = await store.read(container, here, id)
    return None if stored is None else {name: stored.body[name] for name in stored.body if name in ("n", "k", "text")}


# One operation each: what it does under the faults, then what must have become of it.


async def create(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    faults()
    created = await store.create(TASKS, here, {"id": "a", "n": 1})
    assert await store.read(TASKS, here, "a") == created


async def create_of_a_taken_id(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.create(TASKS, here, {"id": "a", "n": 1})
    faults()
    with pytest.raises(DocumentExists):
        await store.create(TASKS, here, {"id": "a", "n": 1})


async def read(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.create(TASKS, here, {"id": "a", "n": 1})
    faults()
    assert await body(store, here, "a") == {"n": 1}


async def replaced(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    first = await store.create(TASKS, here, {"id": "a", "n": 1})
    faults()
    second = await store.replace(TASKS, here, {"id": "a", "n": 2}, first.etag)
    assert await store.read(TASKS, here, "a") == second


async def replace_of_a_changed_document(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    first = await store.create(TASKS, here, {"id": "a", "n": 1})
    await store.upsert(TASKS, here, {"id": "a", "n": 2})
    faults()
    with pytest.raises(DocumentChanged):
        await store.replace(TASKS, here, {"id": "a", "n": 2}, first.etag)


async def upsert(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    faults()
    written = await store.upsert(TASKS, here, {"id": "a", "n": 2})
    assert await store.read(TASKS, here, "a") == written


async def delete(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.create(TASKS, here, {"id": "a"})
    faults()
    await store.delete(TASKS, here, "a")
    assert await body(store, here, "a") is None


async def increment(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.create(CONTROLS, here, {"id": "a", "n": 1})
    faults()
    assert (await store.increment(CONTROLS, here, "a", {"n": 2})).body["n"] == 3
    assert await body(store, here, "a", CONTROLS) == {"n": 3}


async def increment_of_nothing(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    faults()
    with pytest.raises(DocumentMissing):
        await store.increment(CONTROLS, here, "a", {"n": 2})


async def increments_side_by_side(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.create(CONTROLS, here, {"id": "a", "n": 0})
    faults()
    await asyncio.gather(*(store.increment(CONTROLS, here, "a", {"n": 1}) for _ in range(5)))
    assert await body(store, here, "a", CONTROLS) == {"n": 5}


async def batch(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    first = await store.create(TASKS, here, {"id": "replaced", "n": 1})
    await store.create(TASKS, here, {"id": "deleted"})
    await store.create(TASKS, here, {"id": "counted", "n": 1})
    faults()
    await store.batch(
        TASKS,
        here,
        [
            Upsert({"id": "upserted"}),
            Increment("counted", {"n": 1}),
            Delete("deleted"),
            Create({"id": "created"}),
            Replace({"id": "replaced", "n": 2}, first.etag),
        ],
    )
    bodies = {stored.body["id"]: stored.body.get("n") for stored in (await store.page(TASKS, here)).items}
    assert bodies == {"created": None, "upserted": None, "replaced": 2, "counted": 2}


async def batch_that_creates(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    faults()
    await store.batch(TASKS, here, [Create({"id": str(n)}) for n in range(3)])
    assert len((await store.page(TASKS, here)).items) == 3


async def batch_that_counts(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.batch(TASKS, here, [Create({"id": "a", "n": 0}), Create({"id": "b", "n": 0})])
    faults()
    await store.batch(TASKS, here, [Upsert({"id": "c", "n": 1}), Increment("a", {"n": 1}), Increment("b", {"n": 1})])
    assert [stored.body["n"] for stored in (await store.page(TASKS, here)).items] == [1, 1, 1]


async def batch_that_replaces(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    first = await store.create(TASKS, here, {"id": "a", "n": 1})
    faults()
    await store.batch(TASKS, here, [Replace({"id": "a", "n": 2}, first.etag)])
    assert await body(store, here, "a") == {"n": 2}


async def batch_that_deletes(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.batch(TASKS, here, [Create({"id": str(n)}) for n in range(3)])
    faults()
    await store.batch(TASKS, here, [Delete(str(n)) for n in range(3)])
    assert (await store.page(TASKS, here)).items == []


async def batch_that_deletes_first(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.create(TASKS, here, {"id": "a"})
    faults()
    await store.batch(TASKS, here, [Delete("a"), Create({"id": "b"})])
    assert [stored.body["id"] for stored in (await store.page(TASKS, here)).items] == ["b"]


async def batch_that_must_fail(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.create(TASKS, here, {"id": "a"})
    faults()
    with pytest.raises(DocumentExists, match="'a' in tasks"):
        await store.batch(TASKS, here, [Create({"id": "b"}), Create({"id": "a"})])
    assert await body(store, here, "b") is None


async def batch_that_deletes_nothing(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.create(TASKS, here, {"id": "there"})
    faults()
    with pytest.raises(DocumentMissing):
        await store.batch(TASKS, here, [Delete("missing"), Delete("there")])
    assert await body(store, here, "there") == {}


async def page(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.batch(TASKS, here, [Create({"id": str(n)}) for n in range(5)])
    faults()
    first = await store.page(TASKS, here, limit=3)
    faults()
    second = await store.page(TASKS, here[:1], limit=3, continuation=first.continuation)
    assert [stored.body["id"] for stored in (*first.items, *second.items)] == ["0", "1", "2", "3", "4"]


async def changes(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.create(TASKS, here, {"id": "a"})
    await store.create(TASKS, here, {"id": "b"})
    faults()
    first = await store.changes(TASKS, here, None, 1)
    faults()
    second = await store.changes(TASKS, here, first[-1].cursor, 1)
    assert [change.body["id"] for change in (*first, *second)] == ["a", "b"]


async def nearest(store: CosmosDocuments, here: Partition, faults: Faults) -> None:
    await store.create(MEMORIES, here, {"id": "a", "embedding": [1.0, 0.0]})
    faults()
    [match] = await store.nearest(MEMORIES, here, [1.0, 0.0], limit=3)
    assert (match.body["id"], match.score) == ("a", 1.0)


OPERATIONS: list[Callable[[CosmosDocuments, Partition, Faults], Awaitable[None]]] = [
    create, create_of_a_taken_id, read, replaced, replace_of_a_changed_document, upsert, delete, increment,
    increment_of_nothing, increments_side_by_side, batch, batch_that_creates, batch_that_counts, batch_that_replaces,
    batch_that_deletes, batch_that_deletes_first, batch_that_must_fail, batch_that_deletes_nothing, page, changes,
    nearest,
]  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
async def test_an_operation_survives_every_passing_fault(
    store: CosmosDocuments, proxy: FaultProxy, operation: Callable[..., Awaitable[None]]
) -> None:
    for name, fault in PASSING.items():
        times = 2 if name == "TWICE" else 1
        try:
            await operation(store, (name, "t1"), lambda fault=fault, times=times: proxy.script.extend([fault] * times))
            assert not proxy.script
        except Exception as error:
            error.add_note(f"under {name}")
            raise


@pytest.mark.parametrize("fault", [fault_proxy.DROPPED, fault_proxy.UNAVAILABLE, fault_proxy.THROTTLED])
async def test_a_store_that_is_gone_is_unavailable_after_a_bounded_time(
    settings: CosmosSettings, proxy: FaultProxy, fault: Fault
) -> None:
    store = CosmosDocuments(replace(settings, endpoint=proxy.url, patience=0.5))
    await store.read(TASKS, HERE, "opened")
    proxy.always = fault
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="document 'a' in tasks/"):
        await store.create(TASKS, HERE, {"id": "a"})
    assert time.monotonic() - begun < 5
    proxy.always = None
    await store.create(TASKS, HERE, {"id": "a"})
    await store.close()


async def test_a_throttled_request_waits_as_long_as_the_service_says(store: CosmosDocuments, proxy: FaultProxy) -> None:
    proxy.script.append(Fault(status=429, retry_after_ms=300))
    begun = time.monotonic()
    await store.upsert(TASKS, HERE, {"id": "a"})
    assert time.monotonic() - begun >= 0.3


async def test_a_service_that_asks_for_more_time_than_there_is_is_unavailable(
    settings: CosmosSettings, proxy: FaultProxy
) -> None:
    store = CosmosDocuments(replace(settings, endpoint=proxy.url, patience=0.5))
    await store.read(TASKS, HERE, "opened")
    proxy.always = Fault(status=429, retry_after_ms=60_000)
    with pytest.raises(StoreUnavailable, match=r"within 0\.5 seconds"):
        await store.upsert(TASKS, HERE, {"id": "a"})
    await store.close()


async def test_an_account_that_is_not_there_is_unavailable_and_leaves_nothing_open(settings: CosmosSettings) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    store = CosmosDocuments(replace(settings, endpoint=url, patience=1))
    with pytest.raises(StoreUnavailable, match="document 'a' in tasks/"):
        await store.read(TASKS, HERE, "a")
    await store.close()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_credential_is_named_and_not_tried_again(
    store: CosmosDocuments, proxy: FaultProxy, settings: CosmosSettings, status: int
) -> None:
    proxy.always = Fault(status=status)
    requests = store.requests
    with pytest.raises(StoreUnavailable, match=f"refuses the credential .{status}") as caught:
        await store.create(TASKS, HERE, {"id": "a"})
    assert store.requests == requests + 1
    assert settings.key is not None
    assert settings.key not in str(caught.value)


async def test_an_unknown_refusal_is_an_error_with_its_status(store: CosmosDocuments, proxy: FaultProxy) -> None:
    proxy.script.append(Fault(status=400))
    with pytest.raises(DocumentError, match=r"document 'a' in tasks/.*: status 400"):
        await store.upsert(TASKS, HERE, {"id": "a"})
