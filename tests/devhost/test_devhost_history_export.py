"""The export of histories: by an app, with the host killed while it writes; and without an end, by the SDK's worker."""

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
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

from tests.devhost.conftest import host_on
from tests.devhost_process import until
from tests.taskhub.served import served


def test_an_export_that_was_interrupted_writes_every_history_whole(tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    hosts = partial(host_on, tmp_path / "state", "history_export", EXPORTS=str(exports))
    written = exports / "histories"
    since = datetime.now(UTC).isoformat()
    ids = [f"double-{n}" for n in range(4)]
    with hosts(DISK="hangs") as before:
        for n, instance_id in enumerate(ids):
            before.finish(before.start("double", n, instance_id))
        begun = httpx.post(f"{before.host.url}/api/exports/nightly", params={"since": since}, timeout=30)
        assert begun.status_code == 202, before.host.output
        until((written / "double-2.begun").exists, bool)
        before.host.kill()
    assert not (written / "double-2.json").exists()
    with hosts() as after:
        job = f"{after.host.url}/api/exports/nightly"
        done = until(lambda: httpx.get(job, timeout=30).json(), lambda found: found["status"] != "ACTIVE")
        assert done == {"status": "COMPLETED", "exported": len(ids), "failed": 0}
    for n, instance_id in enumerate(ids):
        exported = json.loads((written / f"{instance_id}.json").read_text())
        assert exported["metadata"]["serialized_output"] == str(2 * n)
        kinds = [event["event_type"] for event in exported["events"] if "Orchestrator" not in event["event_type"]]
        assert kinds == ["ExecutionStartedEvent", "TaskScheduledEvent", "TaskCompletedEvent", "ExecutionCompletedEvent"]


def double(context: OrchestrationContext, number: int) -> Any:
    return (yield context.call_activity(twice, input=number))


def twice(context: ActivityContext, number: int) -> int:
    return 2 * number


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


def test_an_export_without_an_end_goes_on_when_the_hub_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK refuses this kind in Functions apps. It asks for what has ended since, page by page."""
    monkeypatch.setattr(orchestrator, "_CONTINUOUS_IDLE_DELAY_OVERRIDE", timedelta(milliseconds=50))
    writer = Folder(tmp_path)
    options = ExportJobCreationOptions(
        ExportMode.CONTINUOUS,
        datetime.now(UTC),
        ExportDestination("histories"),
        runtime_status=[OrchestrationStatus.COMPLETED],
        format=ExportFormat(kind=ExportFormatKind.JSON),
        max_instances_per_batch=2,
    )
    early, late = ["a", "b", "c", "d", "e"], ["f", "g"]
    for ids in (early, late):
        with (
            served(tmp_path / "state" / "hub.db") as address,
            contextlib.closing(TaskHubGrpcClient(host_address=address)) as client,
            TaskHubGrpcWorker(host_address=address) as worker,
        ):
            worker.add_orchestrator(double)
            worker.add_activity(twice)
            export = ExportHistoryClient(client, writer)
            export.register_worker(worker)
            worker.start()
            if ids is early:
                export.create_job(options, job_id="tail")
            for number, instance_id in enumerate(ids):
                client.schedule_new_orchestration(double, input=number, instance_id=instance_id)
            until(writer.names, lambda names, ids=ids: names >= {*ids})
            if ids is late:
                export.delete_job("tail")
                assert client.get_orchestration_state("export-job-tail") is None
    assert json.loads((tmp_path / "g.json").read_text())["metadata"]["serialized_output"] == "2"
