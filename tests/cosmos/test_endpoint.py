"""The endpoint itself, asked through the SDK, where the stock server answers otherwise than the documentation."""

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from azure.core import MatchConditions
from azure.cosmos import PartitionKey
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosBatchOperationError,
    CosmosHttpResponseError,
    CosmosResourceNotFoundError,
)

from tests.cosmos.endpoint import HERE, CosmosEndpoint, require_node

pytestmark = pytest.mark.anyio

KEY = ["contoso", "t1"]
ELSEWHERE = ["contoso", "t2"]


@pytest.fixture
async def items(endpoint: CosmosEndpoint) -> AsyncIterator[ContainerProxy]:
    async with CosmosClient(endpoint.url, endpoint.key, enable_endpoint_discovery=False) as client:
        database = await client.create_database("endpoint")
        yield await database.create_container("c", PartitionKey(["/a", "/b"], kind="MultiHash"), default_ttl=-1)
        await client.delete_database("endpoint")


def item(id: str, key: list[str] = KEY, **more: object) -> dict[str, object]:
    return {"id": id, "a": key[0], "b": key[1], **more}


async def test_a_missing_item_is_404(items: ContainerProxy) -> None:
    await items.create_item(item("x", ELSEWHERE))
    with pytest.raises(CosmosResourceNotFoundError):
        await items.read_item("x", KEY)


async def test_an_upsert_of_a_version_that_is_missing_is_412(items: ContainerProxy) -> None:
    with pytest.raises(CosmosAccessConditionFailedError):
        await items.upsert_item(item("x"), etag="old", match_condition=MatchConditions.IfNotModified)


async def test_a_patch_goes_by_its_condition_on_its_own_item(items: ContainerProxy) -> None:
    await items.create_item(item("x", n=1, Name="Ann"))
    await items.create_item(item("x", ELSEWHERE, n=5, Name="Bob"))
    steps = [{"op": "incr", "path": "/n", "value": 1}]
    patched = await items.patch_item("x", KEY, steps, filter_predicate="FROM c WHERE c.Name = 'Ann'")
    assert patched["n"] == 2
    with pytest.raises(CosmosAccessConditionFailedError):
        await items.patch_item("x", KEY, steps, filter_predicate="FROM c WHERE c.Name = 'Bob'")


async def test_a_batch_is_atomic_and_names_what_failed(items: ContainerProxy) -> None:
    await items.create_item(item("there"))
    with pytest.raises(CosmosBatchOperationError) as caught:
        await items.execute_item_batch(
            [("create", (item("new"),)), ("create", (item("there"),)), ("delete", ("there",))], KEY
        )
    assert (caught.value.error_index, caught.value.status_code) == (1, 409)
    assert [response["statusCode"] for response in caught.value.operation_responses] == [424, 409, 424]
    assert [row["id"] async for row in items.query_items("SELECT * FROM c", partition_key=KEY)] == ["there"]


async def test_a_query_sees_its_partition_or_what_lies_below_its_prefix(items: ContainerProxy) -> None:
    for key in (KEY, ELSEWHERE, ["fabrikam", "t1"], ["", "a rather long value, over sixteen bytes ☕"]):
        await items.create_item(item("x", key))
    assert len([row async for row in items.query_items("SELECT * FROM c", partition_key=KEY)]) == 1
    assert len([row async for row in items.query_items("SELECT * FROM c", partition_key=KEY[:1])]) == 2
    assert len([row async for row in items.query_items("SELECT * FROM c", partition_key=[""])]) == 1
    assert len([row async for row in items.query_items("SELECT * FROM c")]) == 4


async def test_offset_and_limit_cut_a_query(items: ContainerProxy) -> None:
    for n in range(5):
        await items.create_item(item(str(n)))
    query = "SELECT * FROM c ORDER BY c.id OFFSET 1 LIMIT 2"
    assert [row["id"] async for row in items.query_items(query, partition_key=KEY)] == ["1", "2"]


async def test_an_item_expires(endpoint: CosmosEndpoint, items: ContainerProxy) -> None:
    await items.create_item(item("short", ttl=60))
    await items.create_item(item("long", ttl=-1))
    endpoint.advance(61)
    assert [row["id"] async for row in items.query_items("SELECT * FROM c", partition_key=KEY)] == ["long"]
    await items.create_item(item("short"))


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"id": "x" * 1024}, 400),
        ({"ttl": 0}, 400),
        ({"ttl": 1.5}, 400),
        ({"s": "x" * 2**21}, 413),
    ],
    ids=["long id", "no ttl", "half a second", "large"],
)
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
async def test_the_service_s_limits_hold(items: ContainerProxy, wrong: dict[str, object], status: int) -> None:
    with pytest.raises(CosmosHttpResponseError) as caught:
        await items.create_item({**item("x"), **wrong})
    assert caught.value.status_code == status


async def test_a_request_signed_with_another_key_is_401(endpoint: CosmosEndpoint) -> None:
    client = CosmosClient(endpoint.url, "d3Jvbmc=", enable_endpoint_discovery=False)
    with pytest.raises(CosmosHttpResponseError) as caught:
        await client.__aenter__()
    await client.close()
    assert caught.value.status_code == 401


def test_without_node_the_tests_skip_and_in_continuous_integration_they_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs Node"):
        require_node()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs Node"):
        require_node()


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in (HERE / "package-lock.json").read_text("utf-8")


def test_the_endpoint_is_gone_when_it_is_left(endpoint: CosmosEndpoint) -> None:
    with CosmosEndpoint() as other:
        pid = other._process.pid if other._process else 0
        assert other.url != endpoint.url
    assert not subprocess.run(["ps", "-p", str(pid)], capture_output=True, env=os.environ, check=False).stdout.count(
        b"node"
    )
