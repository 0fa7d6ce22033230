"""The README, followed as a newcomer follows it: in a fresh copy of what is committed, with its own commands.

Only the environment is not made anew. That a machine without one comes to it by `make setup` is shown by .ci/run in a
fresh clone with empty caches, and by nothing here.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.devhost_process import until
from tests.openai_server import Answer, OpenAIServer

ROOT = Path(__file__).resolve().parents[2]
STAMP = "installed"
README = (ROOT / "README.md").read_text("utf-8")

OLLAMA = "http://127.0.0.1:11434/v1"
RUN_WITH_A_MODEL = f"make run OPENAI_BASE_URL={OLLAMA} MODEL=qwen3"
COPY_SETTINGS = "cp local.settings.json.example local.settings.json"
RUN_HERE = {"make run", RUN_WITH_A_MODEL, COPY_SETTINGS}
RUN_NEXT_DOOR = {"make run STATE=cosmos"}
"""In test_cosmos_state.py, which needs Node."""
RUN_BY_CI = {"make test"}
NEEDS_OTHER_SOFTWARE = {
    "python3.13 -m venv .venv && . .venv/bin/activate && pip install -r requirements.txt": "as make setup does it",
    "azurite --silent --location .azurite &": "Azurite stands in for a storage account under Core Tools only",
    "azd up": "it deploys to a subscription; tests/unit/infra works out what",
    "func start": "Core Tools is not in a package registry; the devhost reads the same two files",
}


BESIDE = "HOST_ARGS=--ephemeral"
"""For a second host in a folder: its task hub is not that of the first."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> set[str]:
    return {line for block in blocks("bash") for line in block.strip().splitlines()}


def clone(folder: Path) -> Path:
    """Copy what git tracks, as it is in the working tree, with this environment in place of a fresh `make setup`."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in tracked.splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    environment = folder / ".venv"
    environment.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != STAMP:
            (environment / entry.name).symlink_to(entry)
    # A stamp of its own, newer than the lock files beside it: make would install everything again otherwise.
    (environment / STAMP).touch()
    return folder


class MakeRun:
    """`make run ...` in a folder, on a free port."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        command = ["make", "run", f"PORT={self.url.rsplit(':', 1)[1]}", *arguments]
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "OPENAI_", "AZURE_"))
        }
        # A recipe must not mistake itself for a child of the make that runs these tests.
        clean = {name: value for name, value in clean.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        # And if it should set out to install something, it is to fail at once.
        clean["PIP_NO_INDEX"] = "1"
        self._process = subprocess.Popen(
            command, cwd=folder, env=clean, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str) -> re.Match[str]:
        found = until(lambda: re.search(pattern, self.output, re.DOTALL), lambda match: match is not None or self.ended)
        assert found, self.output
        return found

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        """Press Ctrl-C: every process of the terminal gets the signal."""
        if not self.ended:
            os.killpg(self._process.pid, signal.SIGINT)
        self._process.wait(30)
        self._reader.join(5)
        if self._process.stdout:
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.output += line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("perdure"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Iterator[MakeRun]:
    run = MakeRun(folder)
    yield run
    run.stop()


def printed_curl(run: MakeRun) -> tuple[list[str], str]:
    """The curl line as it is printed, split as a shell would, and the key in it."""
    match = run.wait_for(r"\n  (curl -s \S+ -H \"X-API-Key: (\S+)\" \\\n    -d '[^']+')")
    return shlex.split(match.group(1).replace("\\\n", " ")), match.group(2)


def finished(run: MakeRun, curl: list[str], key: str) -> dict[str, Any]:
    """Run the printed curl line, and follow the task to its end."""
    started = json.loads(subprocess.run(curl, check=True, capture_output=True, text=True, timeout=30).stdout)
    url, headers = f"{run.url}/api/agent/task/{started['task_id']}", {"X-API-Key": key}
    return until(lambda: httpx.get(url, headers=headers), lambda response: response.status_code != 202).json()


def most_at_once(calls: list[dict[str, Any]]) -> int:
    """The greatest number of calls that were under way at one moment."""
    return max(sum(call["started_at"] <= at["started_at"] < call["ended_at"] for call in calls) for at in calls)


def test_every_command_of_the_readme_is_accounted_for() -> None:
    assert commands() == RUN_HERE | RUN_NEXT_DOOR | RUN_BY_CI | set(NEEDS_OTHER_SOFTWARE)
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert all(command in ci for command in RUN_BY_CI)


def test_the_printed_curl_line_gives_an_answer_from_three_overlapping_tool_calls(run: MakeRun) -> None:
    curl, key = printed_curl(run)
    shown = subprocess.run(curl, check=True, capture_output=True, text=True, timeout=30).stdout
    started = json.loads(shown)
    status = until(lambda: httpx.get(started["statusQueryGetUri"]), lambda response: response.status_code != 202).json()
    assert status["runtimeStatus"] == "Completed"
    assert "391" in status["output"]["result"]
    url = f"{run.url}/api/agent/task/{started['task_id']}"
    task = httpx.get(url, headers={"X-API-Key": key}).json()
    assert (task["status"], len(task["tool_calls"])) == ("completed", 5)
    assert most_at_once(task["tool_calls"]) >= 3, task["tool_calls"]
    assert any("Tokyo" in call["result"] for call in task["tool_calls"])


def test_the_output_in_the_readme_is_what_is_printed(run: MakeRun) -> None:
    _, key = printed_curl(run)
    printed = re.sub(re.escape(key), "pdk_0c1f…", run.output).replace(run.url, "http://127.0.0.1:7071")
    for line in blocks("text")[0].strip().splitlines():
        assert line in printed, line


def test_the_answers_shown_in_the_readme_have_the_fields_of_real_ones(run: MakeRun) -> None:
    curl, key = printed_curl(run)
    started = json.loads(subprocess.run(curl, check=True, capture_output=True, text=True, timeout=30).stdout)
    url = f"{run.url}/api/agent/task/{started['task_id']}"
    task = until(
        lambda: httpx.get(url, headers={"X-API-Key": key}), lambda response: response.status_code != 202
    ).json()
    accepted, finished = (json.loads(block) for block in blocks("json")[:2])
    assert set(accepted) <= set(started)
    assert set(finished) <= set(task)
    assert set(finished["tool_calls"][0]) - {"…"} <= set(task["tool_calls"][0])


def test_the_key_is_shown_once(folder: Path, run: MakeRun) -> None:
    _, key = printed_curl(run)
    again = MakeRun(folder, BESIDE)
    try:
        match = again.wait_for(r'X-API-Key: (\S+)"')
    finally:
        again.stop()
    assert match.group(1) == "$PERDURE_API_KEY"
    assert key not in again.output
    assert "make key" in again.output


def test_ctrl_c_stops_it_without_a_traceback(folder: Path) -> None:
    run = MakeRun(folder, BESIDE)
    run.wait_for("Host ready")
    run.stop()
    assert "Traceback" not in run.output


def test_a_taken_port_is_said_clearly(folder: Path, run: MakeRun) -> None:
    run.wait_for("Host ready")
    port = run.url.rsplit(":", 1)[1]
    second = MakeRun(folder, f"PORT={port}")
    until(lambda: second.ended, bool)
    second.stop()
    assert f"port {port} is taken by another program; stop that, or choose another with --port" in second.output
    assert "Traceback" not in second.output
    assert second.exit_code != 0


def test_a_store_of_another_embedding_model_stops_the_start(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    first = MakeRun(folder)
    try:
        _, key = printed_curl(first)
        document = {"title": "Leave", "text": "Thirty days."}
        loaded = httpx.post(f"{first.url}/api/memory/documents", headers={"X-API-Key": key}, json=document)
        status = loaded.json()["statusQueryGetUri"]
        until(lambda: httpx.get(status), lambda response: response.status_code == 200)
    finally:
        first.stop()
    second = MakeRun(folder, "OPENAI_API_KEY=none", "PERDURE_EMBEDDING_MODEL=text-embedding-3-small")
    until(lambda: second.ended, bool)
    second.stop()
    assert "feature-hashing-1 with 512 dimensions, but the app is set to text-embedding-3-small" in second.output
    assert "Host ready" not in second.output
    assert "Traceback" not in second.output
    assert second.exit_code != 0


def test_no_test_here_installs_anything(run: MakeRun) -> None:
    run.wait_for("Host ready")
    assert "Setting up" not in run.output


def test_the_line_for_a_real_model_asks_that_model(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    command = shlex.split(RUN_WITH_A_MODEL)
    with OpenAIServer([Answer("I am a real model.")]) as model:
        arguments = [argument.replace(OLLAMA, model.base_url) for argument in command[2:]]
        assert arguments != command[2:]
        run = MakeRun(folder, *arguments)
        try:
            curl, key = printed_curl(run)
            task = finished(run, curl, key)
        finally:
            run.stop()
        [asked] = model.requests
    assert task["result"] == "I am a real model."
    assert asked["model"] == "qwen3"


def test_the_copied_settings_are_read(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    subprocess.run(shlex.split(COPY_SETTINGS), cwd=folder, check=True)
    file = folder / "local.settings.json"
    settings = json.loads(file.read_text("utf-8"))
    # One setting is changed, for it is the only way to see from outside that the file was read.
    settings["Values"]["PERDURE_STATE"] = "sqlite:elsewhere/state.db"
    file.write_text(json.dumps(settings), "utf-8")
    run = MakeRun(folder)
    try:
        curl, key = printed_curl(run)
        task = finished(run, curl, key)
    finally:
        run.stop()
    assert (task["status"], len(task["tool_calls"])) == ("completed", 5)
    assert (folder / "elsewhere" / "state.db").exists()
    assert not (folder / ".perdure").exists()


def test_the_readmes_tool_and_agent_work_as_they_stand(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    for block in (*blocks("python"), *blocks("yaml")):
        path = re.match(r"# (\S+)\n", block)
        assert path
        (folder / path.group(1)).write_text(block, "utf-8")
    run = MakeRun(folder)
    try:
        _, key = printed_curl(run)
        headers = {"X-API-Key": key}
        body = {"query": "Roll 3 dice", "agent": "gambler"}
        task_id = httpx.post(f"{run.url}/api/agent/task", headers=headers, json=body).json()["task_id"]
        url = f"{run.url}/api/agent/task/{task_id}"
        task = until(lambda: httpx.get(url, headers=headers), lambda response: response.status_code != 202).json()
    finally:
        run.stop()
    [call] = task["tool_calls"]
    assert (call["tool"], json.loads(call["input"])["count"]) == ("roll_dice", 3)
    assert [1 <= die <= 6 for die in json.loads(call["result"])] == [True] * 3


def test_every_file_the_readme_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_help_lists_every_target_and_no_more_than_a_dozen(folder: Path) -> None:
    shown = subprocess.run(["make"], cwd=folder, check=True, capture_output=True, text=True).stdout
    listed = re.findall(r"^  make (\w+)", shown, re.MULTILINE)
    assert {"setup", "run", "test", "check", "fmt", "bench"} <= set(listed)
    assert len(listed) <= 12
