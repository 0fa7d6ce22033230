"""`make run STATE=cosmos`, as a newcomer starts it: everything is in the Cosmos endpoint, and stays there."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.app import until
from tests.cosmos.endpoint import HERE, install, require_node
from tests.e2e.test_readme import MakeRun, clone, printed_curl


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    require_node()
    install()
    folder = clone(tmp_path)
    (folder / "tests" / "cosmos" / "node_modules").symlink_to(HERE / "node_modules")
    yield folder
    subprocess.run(["make", "stop"], cwd=folder, check=True, capture_output=True)


def test_the_main_job_runs_with_all_its_state_in_cosmos_and_a_restart_loses_nothing(folder: Path) -> None:
    first = MakeRun(folder, "STATE=cosmos")
    try:
        curl, key = printed_curl(first)
        started = json.loads(subprocess.run(curl, check=True, capture_output=True, text=True, timeout=30).stdout)
        headers = {"X-API-Key": key}
        path = f"/api/agent/task/{started['task_id']}"
        before = until(lambda: httpx.get(first.url + path, headers=headers), lambda r: r.status_code == 200).json()
        turn = httpx.post(
            f"{first.url}/api/agent/task", headers=headers, json={"query": "What is 2 + 3?", "thread_id": "sums"}
        ).json()
        until(
            lambda: httpx.get(f"{first.url}/api/agent/task/{turn['task_id']}", headers=headers),
            lambda response: response.status_code == 200,
        )
        thread = httpx.get(f"{first.url}/api/agent/threads/sums", headers=headers).json()
    finally:
        first.stop()
    assert (before["status"], len(before["tool_calls"])) == ("completed", 5)
    assert thread["length"] == 4
    assert list((folder / ".perdure").glob("state.db*")) == []

    second = MakeRun(folder, "STATE=cosmos")
    try:
        second.wait_for("Post a task")
        assert httpx.get(second.url + path, headers=headers).json() == before
        assert httpx.get(f"{second.url}/api/agent/threads/sums", headers=headers).json() == thread
        assert "shown this once" not in second.output
    finally:
        second.stop()
