"""What only the Cosmos adapter does: ids, definitions, opening, closing, counting."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.documents.containers import CONTAINERS, CONTROLS, MEMORIES, TASKS
from perdure.documents.cosmos import CosmosDocuments
from perdure.documents.cosmos_account import CosmosSettings
from perdure.documents.cosmos_containers import MARKS, resource
from perdure.documents.cosmos_counting import MAX_MARKS, OLD_SECONDS
from perdure.documents.cosmos_ids import escape, key, unescape
from perdure.documents.port import (
    Create,
    Delete,
    DocumentError,
    Increment,
    StoreUnavailable,
    Upsert,
)

pytestmark = pytest.mark.anyio

HERE = ("contoso", "t1")
ROOT = Path(__file__).resolve().parents[2]


def test_importing_the_adapter_imports_no_sdk() -> None:
    code = (
        "import sys, perdure.documents.cosmos\n"
        "from perdure.documents.cosmos import CosmosDocuments\n"
        "from perdure.documents.cosmos_account import CosmosSettings\n"
        "CosmosDocuments(CosmosSettings('https://nowhere.invalid'))\n"
        "print([name for name in sys.modules if name.startswith(('azure', 'aiohttp'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_id_comes_back_as_it_was(id: str) -> None:
    escaped = key(id)
    assert unescape(escaped) == id or escaped.startswith("~~")
    assert escaped
    assert not set(escaped) & set("/\\?#% ")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_different_ids_stay_different_and_the_form_of_a_prefix_is_a_prefix(one: str, other: str) -> None:
    assert (key(one) == key(other)) == (one == other)
    assert escape(one + other).startswith(escape(one))


ORDINARY = st.text("abcXYZ0129-_:@")


@given(ORDINARY, ORDINARY)
def test_ordinary_ids_stay_as_they_are(one: str, other: str) -> None:
    assert escape(one) == one
    assert (key(one) < key(other)) == (one < other) or not (one and other)


def test_a_container_is_described_as_the_database_takes_it() -> None:
    described = resource(MEMORIES, 256)
    assert described["partitionKey"] == {"paths": ["/tenantId", "/scope"], "kind": "MultiHash", "version": 2}
    assert described["defaultTtl"] == -1
    assert described["vectorEmbeddingPolicy"]["vectorEmbeddings"] == [
        {"path": "/embedding", "dataType": "float32", "distanceFunction": "cosine", "dimensions": 256}
    ]
    assert described["indexingPolicy"]["vectorIndexes"] == [{"path": "/embedding", "type": "quantizedFlat"}]
    assert {"path": "/embedding/*"} in described["indexingPolicy"]["excludedPaths"]
    assert "vectorEmbeddingPolicy" not in resource(TASKS, 256)


async def test_the_containers_are_made_as_described(settings: CosmosSettings, store: CosmosDocuments) -> None:
    from azure.cosmos.aio import CosmosClient

    await store.read(TASKS, HERE, "a")
    assert settings.key is not None
    async with CosmosClient(settings.endpoint, settings.key, enable_endpoint_discovery=False) as client:
        for container in CONTAINERS:
            found = await client.get_database_client(settings.database).get_container_client(container.name).read()
            described = resource(container, settings.dimensions)
            # The server adds defaults of its own to the indexing policy.
            policy = {name: found["indexingPolicy"][name] for name in described["indexingPolicy"]}
            assert {**{name: found[name] for name in described}, "indexingPolicy": policy} == described


async def test_many_first_uses_at_once_open_one_client(store: CosmosDocuments) -> None:
    await asyncio.gather(*(store.read(TASKS, HERE, str(n)) for n in range(20)))
    # The account (twice, says the SDK), the database, four containers made and four looked at, and one read each.
    assert store.requests == 2 + 1 + 2 * len(CONTAINERS) + 20


async def test_a_database_that_exists_is_opened_and_not_made(settings: CosmosSettings, store: CosmosDocuments) -> None:
    await store.create(TASKS, HERE, {"id": "a"})
    second = CosmosDocuments(replace(settings, create=False))
    assert await second.read(TASKS, HERE, "a") is not None
    assert second.requests == 2 + len(CONTAINERS) + 1
    third = CosmosDocuments(settings)
    assert await third.read(TASKS, HERE, "a") is not None
    await asyncio.gather(second.close(), third.close())


async def test_a_missing_container_is_named(settings: CosmosSettings) -> None:
    store = CosmosDocuments(replace(settings, create=False))
    with pytest.raises(StoreUnavailable, match=f"no container {settings.database}/tasks at http"):
        await store.read(TASKS, HERE, "a")
    await store.close()


async def test_vectors_of_another_length_are_an_error_at_the_first_use(
    settings: CosmosSettings, store: CosmosDocuments
) -> None:
    await store.read(TASKS, HERE, "a")
    other = CosmosDocuments(replace(settings, dimensions=3))
    with pytest.raises(DocumentError, match="vectors of 2 dimensions, and the embedding model makes 3"):
        await other.read(TASKS, HERE, "a")
    await other.close()


async def test_plain_http_without_a_key_is_refused_with_the_reason(settings: CosmosSettings) -> None:
    store = CosmosDocuments(replace(settings, key=None))
    with pytest.raises(DocumentError, match="plain http and needs a key"):
        await store.read(TASKS, HERE, "a")
    await store.close()


async def test_without_a_key_the_credential_of_the_machine_is_asked_and_closed(settings: CosmosSettings) -> None:
    from azure.core.exceptions import ClientAuthenticationError

    closed: list[bool] = []

    class Credential:
        async def __aenter__(self) -> "Credential":
            return self

        async def __aexit__(self, *error: object) -> None:
            closed.append(True)

        async def close(self) -> None: ...

        async def get_token(self, *scopes: str, **options: object) -> None:
            raise ClientAuthenticationError("no credential here")

    store = CosmosDocuments(replace(settings, endpoint="https://127.0.0.1:9", key=None, patience=1))
    with (
        patch("azure.identity.aio.DefaultAzureCredential", Credential),
        pytest.raises(StoreUnavailable, match="refuses the credential"),
    ):
        await store.read(TASKS, HERE, "a")
    assert closed == [True]
    await store.close()


async def test_a_wrong_key_is_refused_without_showing_it(settings: CosmosSettings) -> None:
    wrong = "d3Jvbmcga2V5"
    store = CosmosDocuments(replace(settings, key=wrong))
    with pytest.raises(StoreUnavailable, match="refuses the credential") as caught:
        await store.read(TASKS, HERE, "a")
    await store.close()
    assert wrong not in f"{caught.value!r} {settings!r} {replace(settings, key=wrong)!r}"


async def test_closing_in_the_middle_of_requests_says_so(settings: CosmosSettings) -> None:
    store = CosmosDocuments(settings)
    await store.read(TASKS, HERE, "opened")
    reads = [asyncio.create_task(store.read(TASKS, HERE, str(n))) for n in range(20)]
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    results = await asyncio.gather(*reads, return_exceptions=True)
    odd = [result for result in results if result is not None and not isinstance(result, StoreUnavailable)]
    assert odd == []


async def test_every_operation_costs_one_request(store: CosmosDocuments) -> None:
    costs: dict[str, int] = {}

    async def count[T](name: str, operation: Callable[[], Awaitable[T]]) -> T:
        before = store.requests
        result = await operation()
        costs[name] = store.requests - before
        return result

    await store.page(TASKS, HERE[:1])
    first = await count("create", lambda: store.create(TASKS, HERE, {"id": "a", "n": 1}))
    await count("read", lambda: store.read(TASKS, HERE, "a"))
    await count("replace", lambda: store.replace(TASKS, HERE, {"id": "a", "n": 1}, first.etag))
    await count("upsert", lambda: store.upsert(TASKS, HERE, {"id": "b"}))
    await count("increment", lambda: store.increment(TASKS, HERE, "a", {"n": 1}))
    await count("batch", lambda: store.batch(TASKS, HERE, [Increment("a", {"n": 1}), Create({"id": "c"}), Delete("b")]))
    await count("page", lambda: store.page(TASKS, HERE))
    await count("page of a prefix", lambda: store.page(TASKS, HERE[:1]))
    [*_, last] = await count("changes", lambda: store.changes(TASKS, HERE, None, 10))
    await count("no changes", lambda: store.changes(TASKS, HERE, last.cursor, 10))
    await count("nearest", lambda: store.nearest(MEMORIES, HERE, [1.0, 0.0], limit=3))
    await count("delete", lambda: store.delete(TASKS, HERE, "a"))
    assert set(costs.values()) == {1}, costs
    assert store.charge >= len(costs)


async def test_two_processes_count_in_one_document(settings: CosmosSettings, store: CosmosDocuments) -> None:
    await store.create(CONTROLS, HERE, {"id": "usage", "n": 0})
    other = CosmosDocuments(settings)
    await asyncio.gather(*(each.increment(CONTROLS, HERE, "usage", {"n": 1}) for each in (store, other) * 20))
    await other.close()
    stored = await store.read(CONTROLS, HERE, "usage")
    assert stored is not None
    assert stored.body["n"] == 40


async def test_marks_of_processes_long_gone_are_removed(settings: CosmosSettings, store: CosmosDocuments) -> None:
    from azure.cosmos.aio import CosmosClient

    await store.create(CONTROLS, HERE, {"id": "usage", "n": 0})
    processes = [CosmosDocuments(settings) for _ in range(3)]
    assert settings.key is not None
    async with CosmosClient(settings.endpoint, settings.key, enable_endpoint_discovery=False) as client:
        items = client.get_database_client(settings.database).get_container_client("controls")
        item = await items.read_item("usage", list(HERE))
        long_ago = item["_ts"] * 1_000_000 - 2 * OLD_SECONDS * 1_000_000
        item[MARKS] |= {f"p{n}": long_ago for n in range(MAX_MARKS)}
        await items.upsert_item(item)
        for process in processes * 5:
            await process.increment(CONTROLS, HERE, "usage", {"n": 1})
            await store.upsert(TASKS, HERE, {"id": "something else"})
        item = await items.read_item("usage", list(HERE))
    assert item["n"] == 15
    assert len(item[MARKS]) <= MAX_MARKS
    for process in processes:
        await process.close()


async def test_a_name_that_is_no_name_is_not_put_into_a_query(store: CosmosDocuments) -> None:
    with pytest.raises(ValueError, match="not a name to filter by"):
        await store.page(TASKS, HERE, where={'x"] OR 1=1 --': "a"})


async def test_batches_that_count_in_the_same_documents_do_not_wait_for_each_other(store: CosmosDocuments) -> None:
    await store.batch(TASKS, HERE, [Upsert({"id": "a", "n": 0}), Upsert({"id": "b", "n": 0})])
    one = [Increment("a", {"n": 1}), Increment("b", {"n": 1})]
    async with asyncio.timeout(10):
        await asyncio.gather(*(store.batch(TASKS, HERE, batch) for batch in (one, one[::-1]) * 10))
    assert [stored.body["n"] for stored in (await store.page(TASKS, HERE)).items] == [20, 20]
