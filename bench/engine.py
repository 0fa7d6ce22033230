"""The bare durabletask engine, reached over gRPC: what the same shape of work costs without Perdure."""

import contextlib
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import grpc
from durabletask.client import OrchestrationQuery, OrchestrationStatus, TaskHubGrpcClient

from bench.system import BenchError

PROCESS = "bench.engine_process"
ORCHESTRATOR = "bare_task"
ENDED = [OrchestrationStatus.COMPLETED, OrchestrationStatus.FAILED, OrchestrationStatus.TERMINATED]
ANSWER_SECONDS = 30
STOP_SECONDS = 10


class BareEngine:
    """A running engine."""

    def __init__(self, pid: int, client: TaskHubGrpcClient) -> None:
        self.pid = pid
        self._client = client

    def start(self, calls: int) -> str:
        return ask(lambda: self._client.schedule_new_orchestration(ORCHESTRATOR, input=calls))

    def has_ended(self, task_id: str) -> bool:
        state = ask(lambda: self._client.get_orchestration_state(task_id, fetch_payloads=False))
        return state is not None and state.runtime_status in ENDED

    def has_closed(self, task_id: str) -> bool:
        return self.has_ended(task_id)

    def ended(self, since: float) -> set[str]:
        query = OrchestrationQuery(created_time_from=datetime.fromtimestamp(since, UTC), runtime_status=ENDED)
        return {state.instance_id for state in ask(lambda: self._client.get_all_orchestration_states(query))}

    def verify(self, task_ids: Iterable[str], calls: int) -> None:
        for task_id in task_ids:
            state = ask(lambda task_id=task_id: self._client.get_orchestration_state(task_id))
            if state is None or state.serialized_output != str(calls):
                raise BenchError(f"not {calls} calls: {state}")


@contextlib.contextmanager
def bare_engine() -> Iterator[BareEngine]:
    """The engine in a process of its own."""
    with engine_process() as (process, address), contextlib.closing(connect(address)) as client:
        yield BareEngine(process.pid, client)


@contextlib.contextmanager
def engine_process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The engine's process, ready, and the address of its hub."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", PROCESS, str(port)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise BenchError("the bare engine did not start")
            yield process, f"127.0.0.1:{port}"
        finally:
            process.stdin.close()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def connect(address: str) -> TaskHubGrpcClient:
    # With a logger of ours, for its own reports every call on the console.
    return TaskHubGrpcClient(host_address=address, secure_channel=False, logger=logging.getLogger(__name__))


def ask[T](call: Callable[[], T]) -> T:
    """Make a call to the hub, again if it was cancelled: this hub does that now and then while a worker connects."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.CANCELLED or time.monotonic() > deadline:
                raise
