"""The connection to an Azure Cosmos DB account: opening, retrying, counting, closing.

1. The client is made at the first use, once, however many ask for it at the same time. Then every container is looked
   up, so that a missing one, or one for vectors of another length, is an error with its name and not a failing request
   later. An emulator over plain http is given its database and containers; in the cloud `infra/` makes them.
2. What the service refuses is `Refused`: the adapter knows what it means for the operation.
3. Everything that may pass is tried again, within a bounded time, and is `StoreUnavailable` in the end. A request that
   is tried again may have been done already: whoever sends it makes sure that twice is as good as once.

The SDK is imported at first use; it takes half a second.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perdure.documents.containers import CONTAINERS, Container
from perdure.documents.cosmos_containers import resource
from perdure.documents.port import DocumentError, StoreUnavailable

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError
    from azure.core.pipeline import PipelineResponse
    from azure.cosmos.aio import ContainerProxy, CosmosClient, DatabaseProxy

PASSING = frozenset({408, 410, 429, 449, 500, 502, 503, 504})
"""Statuses after which the same request may succeed: time-out, moved partition, throttled, concurrent write, fault."""


@dataclass(frozen=True, slots=True)
class CosmosSettings:
    """Which account, and how patient to be.

    Attributes:
        endpoint: `https://<account>.documents.azure.com`, or `http://...` for an emulator.
        database: Its name.
        key: None for Microsoft Entra ID. Over plain http there must be one.
        dimensions: Length of the vectors of the embedding model.
        create: Make the database and its containers when missing. It takes a key: Entra roles for data cannot.
        patience: Seconds that one operation may take in all, its repetitions and the service's delays included.
        attempt: Seconds that one request may stay unanswered. The SDK's default is 65.
        pauses: Seconds before each repetition, if the service asks for no longer. They vary by half at random.
    """

    endpoint: str
    database: str = "perdure"
    key: str | None = field(default=None, repr=False)
    dimensions: int = 1536
    create: bool = False
    patience: float = 30.0
    attempt: float = 10.0
    pauses: tuple[float, ...] = (0.1, 0.4, 1.6, 3.2)


class Refused(Exception):
    """The service refuses a request, and would again.

    Attributes:
        status: The HTTP status.
        index: Of the operation within its batch.
        repeated: Whether an earlier attempt may have been done.
    """

    def __init__(self, status: int, index: int, repeated: bool, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.index = index
        self.repeated = repeated


class CosmosAccount:
    """One client per process.

    Attributes:
        requests: HTTP requests answered so far.
        charge: Request units charged for them.
    """

    def __init__(self, settings: CosmosSettings) -> None:
        self.requests = 0
        self.charge = 0.0
        self._settings = settings
        self._opening = asyncio.Lock()
        self._containers: dict[str, ContainerProxy] = {}
        self._resources = AsyncExitStack()
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    async def do[T](self, container: Container, what: str, request: Callable[["ContainerProxy"], Awaitable[T]]) -> T:
        """Send a request, again if need be.

        Args:
            what: The document or partition, for error messages.

        Raises:
            Refused: The service refuses it.
            StoreUnavailable: It was not answered in time. It may have been done.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        from azure.core.exceptions import AzureError

        repeated = False
        self._under_way += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(self._settings.patience):
                for pause in (*self._settings.pauses, None):
                    try:
                        return await request(await self._container(container))
                    except AzureError as error:
                        fault = _fault(error, what, repeated)
                        if pause is None or fault is not None or _status(error) == 429:
                            raise (fault or _unavailable(error, what)) from error
                        repeated = repeated or _may_have_been_done(error)
                        await asyncio.sleep(max(pause * random.uniform(0.5, 1.5), _delay(error)))
        except TimeoutError as error:
            raise StoreUnavailable(f"{what}: no answer within {self._settings.patience:g} seconds") from error
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
        raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Let what is under way end, then close the client, its connections and its credential."""
        self._closed = True
        await self._idle.wait()
        self._containers = {}
        await self._resources.aclose()

    async def _container(self, container: Container) -> "ContainerProxy":
        if container.name not in self._containers:
            async with self._opening:
                if not self._containers:
                    self._containers = await self._open()
        return self._containers[container.name]

    async def _open(self) -> "dict[str, ContainerProxy]":
        from azure.cosmos.exceptions import CosmosResourceExistsError

        async with AsyncExitStack() as resources:
            client = await self._client(resources)
            database = client.get_database_client(self._settings.database)
            if self._settings.create:
                with suppress(CosmosResourceExistsError):
                    await client.create_database(self._settings.database)
                for one in CONTAINERS:
                    with suppress(CosmosResourceExistsError):
                        await self._create(database, one)
            containers = {one.name: database.get_container_client(one.name) for one in CONTAINERS}
            for one in CONTAINERS:
                await self._check(containers[one.name], one)
            self._resources = resources.pop_all()
            return containers

    async def _client(self, resources: AsyncExitStack) -> "CosmosClient":
        from azure.cosmos.aio import CosmosClient

        plain = self._settings.endpoint.startswith("http://")
        if self._settings.key is not None:
            credential = self._settings.key
        elif plain:
            raise DocumentError(f"{self._settings.endpoint} is plain http and needs a key: tokens go over https only")
        else:
            from azure.identity.aio import DefaultAzureCredential

            credential = await resources.enter_async_context(DefaultAzureCredential())
        client = CosmosClient(
            self._settings.endpoint,
            credential,
            # An emulator advertises addresses that are not its own.
            enable_endpoint_discovery=not plain,
            connection_timeout=5,
            read_timeout=self._settings.attempt,
            # Throttling is the SDK's: it waits as long as the service says. Of connections that fail it repeats writes
            # that may have been done, and does not say so; those are ours.
            retry_throttle_total=100,
            retry_throttle_backoff_max=max(1, round(self._settings.patience)),
            retry_connect=0,
            retry_read=0,
            enable_compact_utf8_item_writes=True,
            raw_response_hook=self._count,
        )
        # Before it is entered: entering asks the account, and may fail with a connection open.
        resources.push_async_callback(client.close)
        return await client.__aenter__()

    async def _create(self, database: "DatabaseProxy", container: Container) -> None:
        from azure.cosmos import PartitionKey

        wanted = resource(container, self._settings.dimensions)
        await database.create_container(
            wanted["id"],
            PartitionKey(wanted["partitionKey"]["paths"], kind="MultiHash"),
            default_ttl=wanted["defaultTtl"],
            indexing_policy=wanted["indexingPolicy"],
            vector_embedding_policy=wanted.get("vectorEmbeddingPolicy"),
        )

    async def _check(self, proxy: "ContainerProxy", container: Container) -> None:
        from azure.cosmos.exceptions import CosmosResourceNotFoundError

        name = f"{self._settings.database}/{container.name}"
        try:
            found = await proxy.read()
        except CosmosResourceNotFoundError as error:
            raise StoreUnavailable(f"there is no container {name} at {self._settings.endpoint}") from error
        wanted = resource(container, self._settings.dimensions)
        if found["partitionKey"]["paths"] != wanted["partitionKey"]["paths"]:
            raise DocumentError(f"the container {name} has another partition key than {container.partition_key}")
        policy: dict[str, Any] = found.get("vectorEmbeddingPolicy") or {}
        for vector in policy.get("vectorEmbeddings", []):
            if vector["dimensions"] != self._settings.dimensions:
                raise DocumentError(
                    f"the container {name} holds vectors of {vector['dimensions']} dimensions, "
                    f"and the embedding model makes {self._settings.dimensions}"
                )

    def _count(self, response: "PipelineResponse[Any, Any]") -> None:
        self.requests += 1
        self.charge += float(response.http_response.headers.get("x-ms-request-charge", 0))


def _status(error: "AzureError") -> int | None:
    return getattr(error, "status_code", None)


def _fault(error: "AzureError", what: str, repeated: bool) -> Exception | None:
    """The error to raise at once; None for what may pass."""
    from azure.core.exceptions import ClientAuthenticationError

    status = _status(error)
    sub_status = getattr(error, "sub_status", None)
    if isinstance(error, ClientAuthenticationError) or status in (401, 403):
        return StoreUnavailable(f"{what}: the account refuses the credential ({status or type(error).__name__})")
    if status == 404 and sub_status == 1003:
        return StoreUnavailable(f"{what}: its container is gone")
    # 404 with a sub-status says that this replica does not know yet, not that there is no document.
    if status is None or status in PASSING or (status == 404 and sub_status):
        return None
    return Refused(status, getattr(error, "error_index", None) or 0, repeated, f"{what}: status {status}")


def _unavailable(error: "AzureError", what: str) -> StoreUnavailable:
    return StoreUnavailable(f"{what}: {_status(error) or type(error).__name__}")


def _may_have_been_done(error: "AzureError") -> bool:
    # The SDK calls a connection that was reset a request that was not sent, but it may have been.
    return _status(error) != 449


def _delay(error: "AzureError") -> float:
    headers: dict[str, str] = getattr(error, "headers", None) or {}
    return float(headers.get("x-ms-retry-after-ms", 0)) / 1000
