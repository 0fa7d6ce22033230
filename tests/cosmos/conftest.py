"""The endpoint of this folder's tests, one for all of them; each test has a database of its own there."""

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from perdure.documents.cosmos import CosmosDocuments
from perdure.documents.cosmos_account import CosmosSettings
from tests.cosmos.endpoint import CosmosEndpoint, require_node
from tests.cosmos.fault_proxy import FaultProxy


@pytest.fixture(scope="session")
def endpoint() -> Iterator[CosmosEndpoint]:
    require_node()
    with CosmosEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def settings(endpoint: CosmosEndpoint) -> CosmosSettings:
    database = f"test-{secrets.token_hex(6)}"
    return CosmosSettings(endpoint.url, database, endpoint.key, dimensions=2, create=True, pauses=(0.01,) * 4)


@pytest.fixture
async def store(settings: CosmosSettings) -> AsyncIterator[CosmosDocuments]:
    documents = CosmosDocuments(settings)
    yield documents
    await documents.close()


@pytest.fixture
async def proxy(endpoint: CosmosEndpoint) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(endpoint.url) as proxy:
        yield proxy
