"""The export of histories by the app itself, with the host killed while it writes."""

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx

from tests.devhost.conftest import host_on
from tests.devhost_process import until


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
