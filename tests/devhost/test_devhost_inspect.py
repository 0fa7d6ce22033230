"""``python -m devhost inspect``: what a task hub keeps, in the terminal, while a host runs and after it was killed."""

import asyncio
import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
import httpx
import pytest

from devhost.inspection.report import read_report
from devhost.taskhub.file import open_to_read
from devhost.taskhub.queries import Queries
from devhost.taskhub.service import TaskHub
from devhost.taskhub.state import MICROSECONDS, now
from tests.devhost.conftest import APPS, Instances, host_on
from tests.devhost_process import REPOSITORY, DevHost, until

PATTERNS = APPS / "patterns"


def inspect(*args: str, code: int = 0, cwd: Path = REPOSITORY) -> str:
    """What the command prints at 100 columns, without the blanks that end its lines."""
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "devhost", "inspect", *args]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert not (done.stdout and done.stderr)
    return re.sub(r" +$", "", done.stdout or done.stderr, flags=re.MULTILINE)


@dataclass
class Scene:
    """A host with an orchestration for everything that one can wait for."""

    state: str
    instances: Instances

    def of(self, *args: str) -> str:
        return inspect(str(PATTERNS), *args, "--state", self.state)

    @contextlib.contextmanager
    def one_more(self, name: str, value: Any, instance_id: str) -> Iterator[None]:
        """An orchestration that is gone again at the end."""
        self.instances.start(name, value, instance_id)
        yield
        assert self.instances.client.delete(f"/instances/{instance_id}").status_code == 200

    def waits(self) -> dict[str, str]:
        """What each orchestration waits for or came to, by its id."""
        pairs = re.findall(r"^(\S+) .*\n  […→] (.*)$", self.of(), re.MULTILINE)
        assert pairs
        return dict(pairs)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    with host_on(folder / "state", "patterns", EFFECTS=str(folder / "effects"), UPSTREAM="hangs") as instances:
        instances.start("count_words", ["a b", "why?", "how?"], "counting")
        until((folder / "effects").exists, bool)
        instances.start("expense", [3600, 1], "expense")
        instances.start("expense", [3600, 1], "on-holiday")
        instances.until("on-holiday", lambda d: d["runtimeStatus"] == "Running")
        instances.operate("on-holiday", "suspend")
        instances.until("on-holiday", lambda d: d["runtimeStatus"] == "Suspended")
        instances.tell("on-holiday", "Decision")
        instances.start("family", None, "family")
        instances.start("transfer", {"from": "a", "to": "b", "amount": 30, "asks": True}, "holder")
        instances.until("holder", lambda d: d["customStatus"] == "asking")
        instances.client.post("/entities/account/a?op=add", json=3)
        instances.start("transfer", {"from": "b", "to": "c", "amount": 3}, "next-in-line")
        start = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
        httpx.post(f"{instances.host.url}/api/later/count_words", params={"at": start, "id": "later"}, json=[])
        instances.finish(instances.start("count_words", ["one two"], "counted"))
        instances.finish(instances.start("delegate", "/nowhere", "failed"))
        instances.until("next-in-line", lambda d: d["runtimeStatus"] == "Running")
        yield Scene(str(folder / "state"), instances)


def test_each_orchestration_is_told_with_what_it_waits_for_or_came_to(scene: Scene) -> None:
    waits = {id: re.sub(r"\d\d s", "S s", told) for id, told in scene.waits().items() if "failed" not in id}
    assert waits == {
        "counting": "activity count ×2",
        "expense": "a timer in 60 min",
        "on-holiday": "its resumption; its turn, with 1 message",
        "family": "sub-orchestration expense ×2",
        "family-0": "a timer in S s",
        "family-1": "a timer in S s",
        "holder": "an event from outside",
        "next-in-line": "the lock of @account@b, @account@c",
        "later": "its start in 3 h",
        "counted": "2",
    }
    assert "7 running, 1 completed, 2 failed, 1 pending, 1 suspended" in scene.of()


def test_open_activities_held_entities_and_who_waits_for_somebody_outside_are_told(scene: Scene) -> None:
    printed = scene.of()
    activities, held, outside = (
        printed.partition(f"\n{title}")[2].partition("\n\n")[0]
        for title in ("Open activities", "Held entities", "Nothing in the hub will wake these")
    )
    assert len(re.findall(r"^count +counting +[\d.]+ m?s", activities, re.MULTILINE)) == 2
    assert re.search(r"^@account@a, @account@b +holder +[\d.]+ m?s +1 critical section and 1", held, re.MULTILINE)
    assert re.search(r"^transfer +holder +[\d.]+ m?s", outside, re.MULTILINE)


def test_a_line_of_a_history_tells_what_was_asked_for_and_what_it_came_to(scene: Scene) -> None:
    counting = scene.of("counting")
    assert re.search(r"^status +Running$", counting, re.MULTILINE)
    assert re.search(r'\d ms +activity +count\("a b"\) → 2', counting)
    assert re.search(r'open +activity +count\("why\?"\)', counting)
    assert re.search(r"open +timer +of 60 min, due in 60 min", scene.of("expense"))
    holder = scene.of("holder")
    assert re.search(r"\d m?s +lock +@account@a, @account@b → granted", holder)
    assert re.search(r"\d m?s +entity call +@account@a get\(\) → 0", holder)
    failed = scene.of("failed")
    assert "open" not in failed
    assert "failed-child" in failed
    assert "No such file or directory: '/nowhere'" in failed
    assert "in delegate" in failed


def test_what_came_from_outside_is_shown_as_it_is(scene: Scene) -> None:
    odd, quoted = "[bold]odd\x1b[31m", "%5Bbold%5Dodd%1B%5B31m"
    with scene.one_more("count_words", ["[red]a[/] \x1b[32m"], quoted):
        scene.instances.finish(quoted)
        for printed in (scene.of(), scene.of(odd)):
            assert "[bold]odd\\x1b[31m" in printed
            assert "\x1b" not in printed
        assert "[red]a[/] \\u001b[32m" in scene.of(odd)


def test_a_hub_is_seen_after_the_crash_of_its_host(tmp_path: Path) -> None:
    with host_on(tmp_path, "patterns") as before:
        before.start("expense", [3600, 1], "expense")
        before.until("expense", lambda d: d["runtimeStatus"] == "Running")
        seen = Scene(str(tmp_path), before)
        assert "a host uses it" in seen.of()
        before.host.kill()
    assert "no host uses it: nothing goes on" in seen.of()
    assert seen.waits()["expense"].startswith("a timer in ")
    with host_on(tmp_path, "patterns") as after:
        after.tell("expense", "Decision", "yes")
        assert after.finish("expense")["output"] == "yes"
    assert seen.waits() == {"expense": '"yes"'}


def make_hub_without_worker(path: Path) -> None:
    """Makes a hub in which nobody has done what was asked for."""

    async def run() -> None:
        hub = TaskHub(path, on_failure=lambda error: pytest.fail(str(error)))
        await hub.StartInstance(pb.CreateInstanceRequest(instanceId="first", name="count_words"))
        await hub.SignalEntity(pb.SignalEntityRequest(instanceId="@account@a", name="add"))
        await hub.close()

    asyncio.run(run())


def test_a_message_that_nobody_takes_is_overdue(tmp_path: Path) -> None:
    make_hub_without_worker(tmp_path / "hub.db")
    with contextlib.closing(open_to_read(tmp_path / "hub.db")) as connection:
        soon, late = (read_report(Queries(connection), now() + seconds * MICROSECONDS, 20) for seconds in (1, 60))
    assert soon.overdue == []
    assert [(found.what, found.where) for found in late.overdue] == [
        ("executionStarted", "first"),
        ("entityOperationSignaled", "@account@a"),
    ]
    assert late.unfinished[0].waits_for == ["its turn, with 1 message"]


def test_long_lists_say_how_much_they_leave_out(scene: Scene) -> None:
    printed = scene.of("--rows", "2")
    assert "more unfinished: --rows N shows more" in printed
    assert "expense" in printed
    assert "family" not in printed.partition("Open activities")[0]


def test_an_argument_that_is_no_folder_is_an_id(scene: Scene) -> None:
    printed = inspect("expense", "--state", scene.state, cwd=PATTERNS)
    assert re.search(r"^orchestrator +expense", printed)
    assert inspect("nobody", "--state", scene.state, cwd=PATTERNS, code=1).endswith("TestHubName.db\n")


def test_what_cannot_be_shown_is_said_in_one_line(tmp_path: Path, scene: Scene) -> None:
    app, state = str(PATTERNS), tmp_path / "state"

    def complaint(*args: str) -> str:
        printed = inspect(*args, code=1)
        assert printed.startswith("devhost: ")
        assert printed.count("\n") == 1
        return printed

    assert "no orchestration 'nobody'" in complaint(app, "nobody", "--state", scene.state)
    assert f"no such folder: {tmp_path}/none" in complaint(f"{tmp_path}/none", "x")
    assert f"no host.json in {tmp_path}" in complaint(str(tmp_path))
    assert f"no task hub in {state}: start the host there first" in complaint(app, "--state", str(state))
    state.mkdir()
    file = state / "TestHubName.db"
    file.write_bytes(b"not a database" * 1000)
    assert "it is damaged" in complaint(app, "--state", str(state))
    file.write_bytes(b"")
    assert "is no task hub" in complaint(app, "--state", str(state))
    file.unlink()
    make_hub_without_worker(file)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE messages SET event = x'ff'")
    assert "it is damaged" in complaint(app, "--state", str(state))


def test_an_app_in_a_folder_named_inspect_is_run_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(APPS / "empty", tmp_path / "inspect")
    with DevHost(tmp_path / "inspect") as host:
        assert "defines no function" in host.output
    monkeypatch.chdir(tmp_path)
    printed = inspect(cwd=tmp_path, code=1)
    assert printed.startswith(f"devhost: no host.json in {tmp_path}")


def test_what_nobody_waits_for_any_more_is_not_open(scene: Scene) -> None:
    with scene.one_more("expense", [3600, 1], "decided"):
        scene.instances.tell("decided", "decision", "yes")
        scene.instances.finish("decided")
        printed = scene.of("decided")
    assert re.search(r"timer +of 60 min → given up at the end", printed)
    assert "open" not in printed
