"""The task hub by itself, with the worker and the client of the durabletask package, as any program may use it."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs
import grpc
import pytest
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.extensions.history_export import (
    ExportDestination,
    ExportFormat,
    ExportFormatKind,
    ExportHistoryClient,
    ExportJobCreationOptions,
    ExportMode,
    orchestrator,
)
from durabletask.task import ActivityContext, OrchestrationContext
from durabletask.worker import TaskHubGrpcWorker

from devhost.taskhub.server import serve
from devhost.taskhub.service import TaskHub
from tests.devhost_process import until


@contextlib.contextmanager
def served(path: Path) -> Iterator[str]:
    """The hub on an event loop of its own; the address of its gRPC service."""
    address: Future[str] = Future()
    loop, over = asyncio.new_event_loop(), asyncio.Event()

    async def run() -> None:
        hub = TaskHub(path, on_failure=address.set_exception)
        server, found = await serve(hub)
        address.set_result(found)
        await over.wait()
        await server.stop(None)
        await hub.close()

    thread = threading.Thread(target=loop.run_until_complete, args=[run()])
    thread.start()
    try:
        yield address.result(10)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def double(context: OrchestrationContext, number: int) -> Any:
    return (yield context.call_activity(twice, input=number))


def twice(context: ActivityContext, number: int) -> int:
    return 2 * number


@contextlib.contextmanager
def working(address: str) -> Iterator[TaskHubGrpcWorker]:
    """A worker that has `double`, to be given more and started."""
    with TaskHubGrpcWorker(host_address=address) as worker:
        worker.add_orchestrator(double)
        worker.add_activity(twice)
        yield worker


class Folder:
    """Writes each history to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(
        self, *, instance_id: str, container: str, blob_name: str, payload: bytes, content_type: str,
        content_encoding: str | None, metadata: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        (self.path / f"{instance_id}.json").write_bytes(payload)

    def names(self) -> set[str]:
        return {path.stem for path in self.path.iterdir()}


def test_work_of_a_worker_that_leaves_is_done_by_another(tmp_path: Path) -> None:
    with served(tmp_path / "hub.db") as address, contextlib.closing(TaskHubGrpcClient(host_address=address)) as client:
        with grpc.insecure_channel(address) as channel:
            stream = stubs.TaskHubSidecarServiceStub(channel).GetWorkItems(pb.GetWorkItemsRequest())
            instance_id = client.schedule_new_orchestration(double, input=21)
            assert next(stream).orchestratorRequest.instanceId == instance_id
        with working(address) as worker:
            worker.start()
            done = client.wait_for_orchestration_completion(instance_id, timeout=30)
    assert done is not None
    assert done.serialized_output == "42"


def test_histories_are_exported_for_as_long_as_orchestrations_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator, "_CONTINUOUS_IDLE_DELAY_OVERRIDE", timedelta(milliseconds=50))
    writer = Folder(tmp_path / "histories")
    writer.path.mkdir()
    options = ExportJobCreationOptions(
        ExportMode.CONTINUOUS,
        datetime.now(UTC),
        ExportDestination("histories"),
        runtime_status=[OrchestrationStatus.COMPLETED],
        format=ExportFormat(kind=ExportFormatKind.JSON),
        max_instances_per_batch=2,
    )

    def run(client: TaskHubGrpcClient, *ids: str) -> None:
        for instance_id in ids:
            client.schedule_new_orchestration(double, input=len(instance_id), instance_id=instance_id)
            client.wait_for_orchestration_completion(instance_id, timeout=30)

    early, late = {"a", "b", "c", "d", "e"}, {"f", "g"}
    for fresh in (early, late):
        # The second time on a hub that was closed meanwhile: the job goes on.
        with (
            served(tmp_path / "hub.db") as address,
            contextlib.closing(TaskHubGrpcClient(host_address=address)) as client,
            working(address) as worker,
        ):
            export = ExportHistoryClient(client, writer)
            export.register_worker(worker)
            worker.start()
            if fresh is early:
                export.create_job(options, job_id="tail")
            run(client, *sorted(fresh))
            until(writer.names, lambda found, fresh=fresh: fresh <= found)
            if fresh is late:
                export.delete_job("tail")
                assert client.get_orchestration_state("export-job-tail") is None
    assert writer.names() == early | late
    exported = json.loads((writer.path / "g.json").read_text())
    assert exported["metadata"]["serialized_output"] == "2"
