"""The adapters that the contract suite runs on, each with its own way to move its clock."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perdure.documents.containers import CONTAINERS
from perdure.documents.cosmos import CosmosDocuments
from perdure.documents.cosmos_account import CosmosSettings
from perdure.documents.port import Documents
from perdure.documents.sqlite import SqliteDocuments
from tests.cosmos.endpoint import CosmosEndpoint, require_node

if TYPE_CHECKING:
    from azure.cosmos.aio import CosmosClient

ADAPTERS = ("sqlite file", "sqlite memory", "cosmos")

DIMENSIONS = 2
"""Length of the vectors in the tests, for which a Cosmos container is made."""


@dataclass(frozen=True)
class Adapter:
    """An adapter of the port; `advance` moves the clock that time-to-live goes by."""

    store: Documents
    advance: Callable[[float], None]


@pytest.fixture(params=ADAPTERS)
async def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Adapter]:
    if request.param == "cosmos":
        opened = cosmos(request.getfixturevalue("cosmos_target"))
    else:
        opened = sqlite(str(tmp_path / "state" / "state.db") if request.param == "sqlite file" else ":memory:")
    async with opened as adapter:
        yield adapter


@pytest.fixture
def store(adapter: Adapter) -> Documents:
    return adapter.store


@pytest.fixture
def advance(adapter: Adapter) -> Callable[[float], None]:
    return adapter.advance


@asynccontextmanager
async def sqlite(path: str) -> AsyncIterator[Adapter]:
    now = 1_000_000.0

    def advance(seconds: float) -> None:
        nonlocal now
        now += seconds

    documents = SqliteDocuments(path, lambda: now)
    yield Adapter(documents, advance)
    await documents.close()


@dataclass(frozen=True)
class CosmosTarget:
    """Our endpoint, or the real account that the environment names."""

    settings: CosmosSettings
    advance: Callable[[float], None]


@asynccontextmanager
async def cosmos(target: CosmosTarget) -> AsyncIterator[Adapter]:
    documents = CosmosDocuments(target.settings)
    yield Adapter(documents, target.advance)
    await documents.close()
    await empty(target.settings)


@pytest.fixture(scope="session")
def cosmos_target() -> Iterator[CosmosTarget]:
    """One database for all tests, made for them and deleted after them."""
    database = f"perdure-contract-{secrets.token_hex(6)}"
    endpoint = os.environ.get("COSMOS_ENDPOINT")
    if endpoint is None:
        require_node()
        with CosmosEndpoint() as ours:
            settings = CosmosSettings(ours.url, database, ours.key, dimensions=DIMENSIONS, create=True)
            yield CosmosTarget(settings, ours.advance)
        return
    key = os.environ.get("COSMOS_KEY")
    if key is None:
        pytest.fail("COSMOS_ENDPOINT needs COSMOS_KEY here: Entra roles for data cannot make a database")
    settings = CosmosSettings(endpoint, database, key, dimensions=DIMENSIONS, create=True)
    yield CosmosTarget(settings, no_clock)
    asyncio.run(drop(settings))


def no_clock(seconds: float) -> None:
    pytest.skip(f"a real account keeps its own clock, and no test waits {seconds:g} seconds for it")


async def empty(settings: CosmosSettings) -> None:
    """Delete every document: the next test uses the same partitions."""
    async with client(settings) as cosmos:
        for container in CONTAINERS:
            items = cosmos.get_database_client(settings.database).get_container_client(container.name)
            keys = ", ".join(f"c.{name}" for name in container.partition_key)
            found = [item async for item in items.query_items(f"SELECT c.id, {keys} FROM c")]
            for item in found:
                await items.delete_item(item["id"], [item[name] for name in container.partition_key])


async def drop(settings: CosmosSettings) -> None:
    async with client(settings) as cosmos:
        await cosmos.delete_database(settings.database)


def client(settings: CosmosSettings) -> "CosmosClient":
    from azure.cosmos.aio import CosmosClient

    plain = settings.endpoint.startswith("http://")
    assert settings.key is not None
    return CosmosClient(settings.endpoint, settings.key, enable_endpoint_discovery=not plain)
