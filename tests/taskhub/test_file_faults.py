"""Files that a hub cannot use: it says so in one line, and leaves them as they are."""

import contextlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import durabletask.internal.orchestrator_service_pb2 as pb
import httpx
import pytest

from devhost.errors import StateError
from devhost.taskhub.file import HubFile
from tests.devhost.conftest import APPS, MANAGEMENT, Instances
from tests.devhost_process import REPOSITORY, DevHost
from tests.taskhub.controlled import ControlledHub, activity, end, timer

COUNT = 30
DAMAGES = 150
NOBODY = 65534


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub of a host that was stopped, with something of everything in it."""
    folder = tmp_path_factory.mktemp("kept")
    hub = ControlledHub(folder)
    for number in range(COUNT):
        request = pb.CreateInstanceRequest(instanceId=f"i{number}", name="Orchestrator", tags={"team": "one"})
        request.input.value = f'"{"x" * 500}"'
        hub.ask(hub.hub.StartInstance(request))
        hub.answer(hub.episode(f"i{number}"), activity(1), timer(2, hub.now() + 10**9))
    for item in hub.of_kind("activityRequest")[::2]:
        hub.finish(item)
    for item in hub.of_kind("orchestratorRequest")[::2]:
        hub.answer(item, end(result='"done"'))
    hub.ask(hub.hub.SignalEntity(pb.SignalEntityRequest(instanceId="@counter@a", name="add")))
    hub.restart()
    hub.ask(hub.hub.close())
    hub.close()
    return folder / "run0" / "hub.db"


@pytest.fixture
def path(kept: Path, tmp_path: Path) -> Path:
    """A copy of that file, where a `ControlledHub` expects its own."""
    (tmp_path / "run0").mkdir()
    return Path(shutil.copy(kept, tmp_path / "run0"))


def opened(path: Path) -> ControlledHub:
    return ControlledHub(path.parent.parent)


def assert_still_good(path: Path) -> None:
    hub = opened(path)
    assert len(hub.hub.queries.instances(pb.InstanceQuery(maxInstanceCount=1000))[0]) == COUNT
    hub.close()


def refusal(path: Path) -> str:
    before = path.read_bytes()
    with pytest.raises(StateError) as refused:
        opened(path)
    assert path.read_bytes() == before, "written to"
    told = str(refused.value)
    assert "\n" not in told
    assert str(path) in told
    return told


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"not a database, but perhaps somebody's notes" * 200)
    assert "it is damaged. Move it away" in refusal(path)


def test_a_file_with_random_bytes_at_its_start_is_left_alone(path: Path) -> None:
    good = path.read_bytes()
    path.write_bytes(random.Random(1).randbytes(4096) + good[4096:])
    assert "it is damaged. Move it away" in refusal(path)
    path.write_bytes(good)
    assert_still_good(path)


def test_a_file_that_was_cut_off_is_left_alone(path: Path) -> None:
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2 // 4096 * 4096])
    assert "it is damaged. Move it away" in refusal(path)
    path.write_bytes(good)
    assert_still_good(path)


def test_every_damaged_page_is_noticed(path: Path) -> None:
    good = path.read_bytes()
    noise = random.Random(2)
    for start in range(0, len(good), 4096):
        path.write_bytes(good[:start] + noise.randbytes(4096) + good[start + 4096 :])
        assert "it is damaged. Move it away" in refusal(path), f"page {start // 4096}"
    path.write_bytes(good)
    assert_still_good(path)


@pytest.fixture
def damage(path: Path) -> Iterator[Callable[[], None]]:
    good = path.read_bytes()
    noise = random.Random(3)

    def flip() -> None:
        place = noise.randrange(100, len(good))
        path.write_bytes(good[:place] + bytes([good[place] ^ noise.randrange(1, 256)]) + good[place + 1 :])

    yield flip
    path.write_bytes(good)
    assert_still_good(path)


def test_a_damaged_byte_stops_the_hub_with_one_line_or_not_at_all(path: Path, damage: Callable[[], None]) -> None:
    """SQLite has no checksums: what still makes sense is taken for what was meant."""
    refused = 0
    for _ in range(DAMAGES):
        damage()
        try:
            hub = opened(path)
        except StateError as error:
            found = error
        else:
            found = hub.failure
            hub.close()
        if found is not None:
            assert "\n" not in str(found)
            assert "it is damaged. Move it away" in str(found)
            refused += 1
    assert 0 < refused < DAMAGES


def test_a_history_that_cannot_be_read_any_more_ends_the_host(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE history SET events = x'ffff' WHERE instance = 'i1'")
    connection.close()
    hub = opened(path)
    for item in hub.of_kind("activityRequest"):
        if item.activityRequest.orchestrationInstance.instanceId == "i1":
            hub.finish(item)
    assert "it is damaged. Move it away" in str(hub.failure)
    hub.close()


def test_the_database_of_another_application_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run0" / "hub.db"
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE invoices (id INTEGER)")
    other.close()
    assert "is no task hub" in refusal(path)


def test_the_file_of_another_version_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    assert "was written by another version of this host" in refusal(path)


def test_a_damaged_file_is_left_alone_with_what_a_crash_left_beside_it(path: Path, tmp_path: Path) -> None:
    hub = opened(path)
    hub.ask(hub.hub.StartInstance(pb.CreateInstanceRequest(instanceId="x", name="Orchestrator")))
    left = Path(shutil.copytree(path.parent, tmp_path / "crashed" / "run0")) / "hub.db"
    hub.close()
    with left.open("r+b") as file:
        file.seek(-4096, 2)
        file.write(random.Random(4).randbytes(4096))
    beside = left.with_name("hub.db-wal")
    before = beside.read_bytes()
    assert before
    assert "it is damaged. Move it away" in refusal(left)
    assert beside.read_bytes() == before


def test_what_belonged_to_a_file_that_was_moved_away_does_not_matter(path: Path, tmp_path: Path) -> None:
    hub = opened(path)
    hub.ask(hub.hub.StartInstance(pb.CreateInstanceRequest(instanceId="x", name="Orchestrator")))
    left = tmp_path / "left" / "run0"
    left.mkdir(parents=True)
    for suffix in ("-wal", "-shm"):
        shutil.copy(path.with_name(f"hub.db{suffix}"), left)
    hub.close()
    again = opened(left / "hub.db")
    assert again.hub.queries.instances(pb.InstanceQuery()) == ([], None)
    again.close()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError, match="it cannot be used"):
        HubFile(tmp_path / "state" / "hub.db")


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    HubFile(tmp_path / "a" / "b" / "hub.db").close()
    assert (tmp_path / "a" / "b" / "hub.db").is_file()


READ = """
import os, sys
from pathlib import Path
from devhost.errors import StateError
from devhost.taskhub.file import HubFile
if os.getuid() == 0:
    os.seteuid(int(sys.argv[2]))
try:
    HubFile(Path(sys.argv[1])).close()
except StateError as error:
    print(error)
"""


@pytest.fixture
def public(path: Path) -> Iterator[Path]:
    """A folder with the file in it, which somebody else can look into."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(path, folder)
        yield folder
        folder.chmod(0o700)


@pytest.mark.parametrize(
    ("file", "folder", "advice"),
    [
        (0o444, 0o777, "it cannot be written. Make it and its folder writable"),
        (0o666, 0o555, "it cannot be written. Make it and its folder writable"),
        (0o000, 0o777, "it cannot be written. Make it and its folder writable"),
        (0o666, 0o000, "cannot be"),
    ],
)
def test_a_file_that_may_not_be_written_is_refused(public: Path, file: int, folder: int, advice: str) -> None:
    path = public / "hub.db"
    before = path.read_bytes()
    path.chmod(file)
    public.chmod(folder)
    command = [sys.executable, "-W", "error", "-c", READ, str(path), str(NOBODY)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert advice in ended.stdout
    assert ended.stderr == ""
    assert ended.stdout.count("\n") == 1
    public.chmod(0o700)
    path.chmod(0o600)
    assert path.read_bytes() == before


# As a user meets it.


@contextlib.contextmanager
def host_on(state: Path) -> Iterator[Instances]:
    with DevHost(APPS / "durable", args=("--state", str(state))) as host:
        instances = Instances(host)
        with instances.client:
            yield instances


def told(state: Path) -> str:
    """What a host prints that cannot start."""
    host = DevHost(APPS / "durable", args=("--state", str(state)))
    host.start()
    assert host.wait_for_exit() == 1
    assert "Traceback" not in host.output
    (line,) = [line for line in host.output.splitlines() if line.startswith("devhost: ")]
    return line


def test_a_host_says_in_one_line_why_it_does_not_start(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with host_on(state) as instances:
        name = instances.start("fan_out", 3)
        assert "another host uses the task hub" in told(state)
        assert instances.finish(name)["output"] == 5
    (path,) = state.glob("*.db")
    good = path.read_bytes()
    path.write_bytes(b"\0" * 100 + good[100:])
    assert "it is damaged. Move it away" in told(state)
    path.write_bytes(good)
    with host_on(state) as instances:
        assert instances.finish(name)["output"] == 5


def test_a_full_disk_ends_the_host_and_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    state = tmp_path / "state"
    full = ("prlimit", "--fsize=3000000", sys.executable)
    acknowledged: list[str] = []
    with DevHost(APPS / "durable", args=("--state", str(state)), python=full) as host:
        url = f"{host.url}{MANAGEMENT}/orchestrators/approval"
        with pytest.raises(httpx.TransportError), httpx.Client() as client:
            # Until the host is gone; each waits for an event, with so much of a payload.
            while len(acknowledged) < 1000:
                started = client.post(f"{url}/i{len(acknowledged)}", json="x" * 20_000)
                assert started.status_code == 202
                acknowledged.append(started.json()["id"])
        assert host.wait_for_exit() == 1
        assert "Traceback" not in host.output
        (line,) = [line for line in host.output.splitlines() if line.startswith("devhost: ")]
        assert "the disk takes no more. Make room and start again: whatever was acknowledged is there" in line
    assert len(acknowledged) > 10
    with host_on(state) as instances:
        found = {document["instanceId"] for document in instances.client.get("/instances?top=2000").json()}
        assert found >= set(acknowledged)
        terminated = instances.start("fan_out", 2)
        assert instances.finish(terminated)["output"] == 1
