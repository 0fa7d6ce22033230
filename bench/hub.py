"""The devhost's task hub under the work of the bare engine: the same stubs, over HTTP, with every step on disk."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx

from bench.system import BenchError
from tests.devhost_process import DevHost

APP = Path(__file__).with_name("hub_app")
MANAGEMENT = "/runtime/webhooks/durabletask"
ENDED = "Completed,Failed,Terminated"


class HubApp:
    """The running app, through the management API alone."""

    def __init__(self, host: DevHost, client: httpx.Client) -> None:
        self._host = host
        self._client = client

    @property
    def pid(self) -> int:
        return self._host.pid

    def start(self, calls: int) -> str:
        return self._client.post("/orchestrators/bare_task", json=calls).json()["id"]

    def has_ended(self, task_id: str) -> bool:
        return self._client.get(f"/instances/{task_id}", params={"showInput": False}).status_code == 200

    def has_closed(self, task_id: str) -> bool:
        return self.has_ended(task_id)

    def ended(self, since: float) -> set[str]:
        query = {"runtimeStatus": ENDED, "createdTimeFrom": _iso(since), "showInput": "false", "top": "1000"}
        return {state["instanceId"] for state in self._client.get("/instances", params=query).json()}

    def verify(self, task_ids: Iterable[str], calls: int) -> None:
        for task_id in task_ids:
            state = self._client.get(f"/instances/{task_id}").json()
            if (state["runtimeStatus"], state["output"]) != ("Completed", calls):
                raise BenchError(f"not {calls} calls: {str(state)[:200]}")


@contextlib.contextmanager
def hub_app() -> Iterator[HubApp]:
    """The app on a devhost that keeps its state on disk."""
    with (
        tempfile.TemporaryDirectory(prefix="perdure-bench-") as state,
        DevHost(APP, args=["--state", state]) as host,
        httpx.Client(base_url=f"{host.url}{MANAGEMENT}", timeout=60) as client,
    ):
        yield HubApp(host, client)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
