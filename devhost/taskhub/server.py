"""The hub over gRPC, on loopback: for the app's own durable clients, and for workers in other processes."""

# ruff: noqa: N802 - the methods of the gRPC service keep their names

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs
import grpc

from devhost.taskhub.client import Refused
from devhost.taskhub.service import TaskHub
from devhost.taskhub.work import Kind

UNLIMITED_MESSAGES = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
"""gRPC's own limit of 4 MB is a result of that size, or a history of about 3,000 activities."""

MAX_MESSAGE_BYTES = 2**31 - 1
"""The same for the app's own clients, which take a number."""

DEFAULT_LIMIT = 100
"""Work items of a kind that a worker gets at a time if it does not say."""


async def serve(hub: TaskHub) -> tuple[grpc.aio.Server, str]:
    """Serves a hub on a free port.

    Returns:
        The server, to be stopped by the caller, and its ``host:port``.
    """
    server = grpc.aio.server(options=UNLIMITED_MESSAGES)
    stubs.add_TaskHubSidecarServiceServicer_to_server(_Servicer(hub), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


class _Servicer(stubs.TaskHubSidecarServiceServicer):
    """Every method of the hub under its own name."""

    def __init__(self, hub: TaskHub) -> None:
        self._hub = hub
        for name in dir(TaskHub):
            if name[0].isupper() and name != "StreamInstanceHistory":
                setattr(self, name, _unary(getattr(hub, name)))

    async def StreamInstanceHistory(
        self, request: pb.StreamInstanceHistoryRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.HistoryChunk]:
        try:
            async for chunk in self._hub.StreamInstanceHistory(request):
                yield chunk
        except Refused as error:
            await context.abort(error.code, str(error))

    async def GetWorkItems(
        self, request: pb.GetWorkItemsRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.WorkItem]:
        stream = _Stream()
        limits = {
            Kind.ORCHESTRATION: request.maxConcurrentOrchestrationWorkItems or DEFAULT_LIMIT,
            Kind.ACTIVITY: request.maxConcurrentActivityWorkItems or DEFAULT_LIMIT,
            Kind.ENTITY: request.maxConcurrentEntityWorkItems or DEFAULT_LIMIT,
        }
        self._hub.work.attach(stream, limits, _names(request))
        try:
            while True:
                yield await stream.items.get()
        finally:
            self._hub.work.detach(stream)

    async def AbandonTaskActivityWorkItem(
        self, request: pb.AbandonActivityTaskRequest, context: grpc.aio.ServicerContext
    ) -> pb.AbandonActivityTaskResponse:
        self._hub.work.decline(request.completionToken)
        return pb.AbandonActivityTaskResponse()

    async def AbandonTaskOrchestratorWorkItem(
        self, request: pb.AbandonOrchestrationTaskRequest, context: grpc.aio.ServicerContext
    ) -> pb.AbandonOrchestrationTaskResponse:
        self._hub.work.decline(request.completionToken)
        return pb.AbandonOrchestrationTaskResponse()

    async def AbandonTaskEntityWorkItem(
        self, request: pb.AbandonEntityTaskRequest, context: grpc.aio.ServicerContext
    ) -> pb.AbandonEntityTaskResponse:
        self._hub.work.decline(request.completionToken)
        return pb.AbandonEntityTaskResponse()


class _Stream:
    """A worker at the other end of a stream."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[pb.WorkItem] = asyncio.Queue()

    def accept(self, item: pb.WorkItem) -> None:
        self.items.put_nowait(item)


def _unary(method: Any) -> Any:
    async def call(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await method(request)
        except Refused as error:
            await context.abort(error.code, str(error))

    return call


def _names(request: pb.GetWorkItemsRequest) -> dict[Kind, frozenset[str]]:
    """The functions a worker has, if it says so."""
    if not request.HasField("workItemFilters"):
        return {}
    filters = request.workItemFilters
    named = {
        Kind.ORCHESTRATION: filters.orchestrations,
        Kind.ACTIVITY: filters.activities,
        Kind.ENTITY: filters.entities,
    }
    return {kind: frozenset(entry.name for entry in entries) for kind, entries in named.items()}
