"""The command line: what is printed, what is refused, and how the host ends."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.devhost.conftest import APPS, MANAGEMENT
from tests.devhost_process import REPOSITORY, DevHost, until

OK = """\
import azure.functions as func

app = func.FunctionApp()


@app.route("hi")
def hi(req: func.HttpRequest) -> str:
    return "hi"
"""


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    (tmp_path / "function_app.py").write_text(OK)
    return tmp_path


def refused(app_dir: Path, *args: str) -> str:
    """What a host prints that does not start."""
    host = DevHost(app_dir, args=args)
    host.start()
    assert host.wait_for_exit() == 1, host.output
    return host.output


def test_functions_are_listed_with_their_urls(classic: DevHost, durable: DevHost) -> None:
    assert f"\techo: [GET,POST] {classic.url}/api/echo\n" in classic.output
    assert f"\titem: {classic.url}/api/items/{{id:int}}\n" in classic.output
    assert "\tfan_out: orchestrationTrigger\n" in durable.output
    assert "\tsquare: activityTrigger\n" in durable.output


def test_an_app_that_cannot_be_imported_shows_its_traceback(tmp_path: Path) -> None:
    printed = refused(APPS / "broken")
    assert "import no_such_package" in printed
    assert printed.rstrip().endswith("could not be loaded: ModuleNotFoundError: No module named 'no_such_package'")
    assert printed.count("Traceback") == 1


def test_an_app_that_cannot_be_indexed_says_why(app_dir: Path) -> None:
    (app_dir / "function_app.py").write_text(OK.replace("req: func.HttpRequest", "request: func.HttpRequest"))
    assert "cannot load the hi function" in refused(app_dir)


def test_an_app_without_functions_still_runs() -> None:
    with DevHost(APPS / "empty") as host:
        assert "defines no function" in host.output
        assert httpx.get(f"{host.url}{MANAGEMENT}/instances").json() == []


def test_broken_json_is_told_by_file_and_line(app_dir: Path) -> None:
    (app_dir / "local.settings.json").write_text('{\n  "Values": {,}\n}')
    assert f"{app_dir}/local.settings.json:2:14: not valid JSON" in refused(app_dir)
    (app_dir / "local.settings.json").unlink()
    (app_dir / "host.json").write_text('{"version": "2.0"')
    assert f"{app_dir}/host.json:1:18: not valid JSON" in refused(app_dir)


def test_a_folder_without_host_json_is_no_app(tmp_path: Path) -> None:
    printed = refused(tmp_path)
    assert printed == f"devhost: no host.json in {tmp_path}: is this a function app? (python -m devhost APP_DIR)\n"


def test_a_port_in_use_is_said_clearly(app_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} is taken by another program" in refused(app_dir, "--port", str(port))


def test_a_route_or_schedule_that_cannot_be_read_stops_the_host(app_dir: Path) -> None:
    (app_dir / "function_app.py").write_text(OK.replace('"hi"', '"hi/{id:odd}"', 1))
    assert "unknown constraint 'odd'" in refused(app_dir)
    timer = OK.replace('@app.route("hi")', '@app.timer_trigger(schedule="sometimes", arg_name="req")')
    (app_dir / "function_app.py").write_text(timer.replace("HttpRequest) -> str", "TimerRequest) -> None"))
    assert "'sometimes' is neither" in refused(app_dir)


def test_the_route_prefix_of_host_json_may_be_empty(app_dir: Path) -> None:
    (app_dir / "host.json").write_text('{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}')
    with DevHost(app_dir) as host:
        assert httpx.get(f"{host.url}/hi").text == "hi"


def test_the_log_level_of_host_json_is_honoured(app_dir: Path) -> None:
    levels = '{"default": "Warning", "Function.hi": "Information"}'
    (app_dir / "host.json").write_text(f'{{"version": "2.0", "logging": {{"logLevel": {levels}}}}}')
    spoken = OK.replace('    return "hi"', '    logging.debug("low")\n    logging.info("high")\n    return "hi"')
    (app_dir / "function_app.py").write_text(f"import logging\n{spoken}")
    with DevHost(app_dir) as host:
        httpx.get(f"{host.url}/api/hi")
        host.wait_for_line("high")
        assert host.stop() == 0
        assert "low" not in host.output
        assert "Executing" not in host.output


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_host_without_noise(app_dir: Path, sent: signal.Signals) -> None:
    with DevHost(app_dir) as host:
        assert httpx.get(f"{host.url}/api/hi").text == "hi"
        assert host.stop(sent) == 0
        assert host.output.splitlines()[-1] == "Stopping"


def test_an_open_stream_does_not_hold_the_host() -> None:
    with (
        DevHost(APPS / "streaming") as host,
        httpx.stream("GET", f"{host.url}/api/ticks") as response,
    ):
        assert next(response.iter_text()) == "data: 1\n\n"
        assert host.stop() == 0
        assert "the stream has ended" in host.output


def test_a_request_in_flight_is_answered_before_the_host_ends() -> None:
    with DevHost(APPS / "streaming") as host, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.get, f"{host.url}/api/slow")
        host.wait_for_line("slow has begun")
        assert host.stop() == 0
        assert answer.result().json() == "done"


def test_a_hanging_activity_does_not_hold_the_host() -> None:
    with DevHost(APPS / "durable") as host:
        httpx.post(f"{host.url}{MANAGEMENT}/orchestrators/hangs")
        host.wait_for_line("asleep")
        assert host.stop() == 0


def named(name: str) -> dict[str, str]:
    return {"Host": name}


@pytest.mark.parametrize("path", ["/api/echo", f"{MANAGEMENT}/instances", "/admin/host/status", "/"])
def test_a_page_whose_name_was_made_to_point_here_is_refused(durable: DevHost, classic: DevHost, path: str) -> None:
    """DNS rebinding: to the browser it is that page's own server that it asks, so nothing else stands in the way."""
    for host in (durable, classic):
        port = host.url.rsplit(":", 1)[1]
        for name in (f"evil.example:{port}", "evil.example", f"localhost.evil.example:{port}", "192.168.0.1", ""):
            assert httpx.get(f"{host.url}{path}", headers=named(name)).status_code == 400, name


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
def test_the_host_may_be_called_by_any_name_of_loopback(classic: DevHost, name: str) -> None:
    port = classic.url.rsplit(":", 1)[1]
    assert httpx.get(f"{classic.url}/", headers=named(f"{name}:{port}")).status_code == 200


def test_the_host_may_be_called_by_the_name_it_was_given_and_by_its_address(app_dir: Path) -> None:
    with DevHost(app_dir, args=["--host", "127.0.0.2"]) as host:
        assert host.url.startswith("http://127.0.0.2:")
        assert httpx.get(f"{host.url}/api/hi").text == "hi"
        assert httpx.get(f"{host.url}/api/hi", headers=named("127.0.0.3")).status_code == 400


def test_a_command_that_runs_when_the_host_is_ready_leaves_nothing_behind(app_dir: Path) -> None:
    with DevHost(app_dir, args=["--on-ready", "echo I am $$ at {url}"]) as host:
        line = host.wait_for_line("I am ")
        assert line.endswith(f" at {host.url}\n")
        until(lambda: has_been_reaped(int(line.split()[2])), bool, 10)


def has_been_reaped(pid: int) -> bool:
    """Whether a process is gone; one that ended but was not taken note of still takes signals."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_everything_listens_on_loopback_only(durable: DevHost) -> None:
    sockets = subprocess.run(
        [sys.executable, "-c", LISTENING, str(durable.pid)], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    addresses = set(sockets.stdout.split())
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert addresses, "the host listens on nothing"
    assert addresses <= loopback, "other than 127.0.0.1, in /proc/net/tcp's spelling"


LISTENING = """
import os, pathlib, sys
fds = pathlib.Path("/proc", sys.argv[1], "fd")
inodes = set()
for fd in fds.iterdir():
    try:
        inodes.add(os.readlink(fd).removeprefix("socket:[").removesuffix("]"))
    except FileNotFoundError:
        pass
for table in ("tcp", "tcp6"):
    for line in pathlib.Path("/proc/net", table).read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            print(fields[1].split(":")[0])
"""


def test_a_deployed_app_cannot_import_devhost() -> None:
    attempt = subprocess.run(
        [sys.executable, "-c", "import devhost"],
        env={"WEBSITE_INSTANCE_ID": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert "must not be imported by a deployed function app" in attempt.stderr


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--port", "99999"], "65535"), (["--host", "x" * 70], "cannot listen")]
)
def test_an_address_that_cannot_be_is_said_without_a_traceback(arguments: list[str], said: str) -> None:
    host = DevHost(APPS / "classic", args=arguments)
    host.start()
    assert host.wait_for_exit() in (1, 2)
    assert said in host.output
    assert "Traceback" not in host.output
