"""One running devhost for each sample app, shared by the tests of this folder."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.devhost_process import DevHost

APPS = Path(__file__).parent / "apps"
MANAGEMENT = "/runtime/webhooks/durabletask"
WAIT_SECONDS = 40


@pytest.fixture(scope="session")
def classic() -> Iterator[DevHost]:
    with DevHost(APPS / "classic") as host:
        yield host


@pytest.fixture(scope="session")
def streaming() -> Iterator[DevHost]:
    with DevHost(APPS / "streaming", env={"GREETING": "from the environment"}) as host:
        yield host


@pytest.fixture(scope="session")
def durable() -> Iterator[DevHost]:
    with DevHost(APPS / "durable") as host:
        yield host


class Instances:
    """Orchestrations of the durable app, through the management API alone."""

    def __init__(self, host: DevHost) -> None:
        self.host = host
        self.client = httpx.Client(base_url=f"{host.url}{MANAGEMENT}", timeout=WAIT_SECONDS)

    def start(self, name: str, value: Any = None, instance_id: str = "", **headers: str) -> str:
        response = self.client.post(f"/orchestrators/{name}/{instance_id}".rstrip("/"), json=value, headers=headers)
        assert response.status_code == 202, response.text
        return response.json()["id"]

    def get(self, instance_id: str, **query: Any) -> httpx.Response:
        return self.client.get(f"/instances/{instance_id}", params=query)

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self.client.post(f"/instances/{path}", **request)

    def tell(self, instance_id: str, event: str, value: Any = True) -> None:
        """Raises an external event."""
        response = self.post(f"{instance_id}/raiseEvent/{event}", json=value)
        assert response.status_code == 202, response.text

    def operate(self, instance_id: str, operation: str) -> None:
        """Suspends, resumes, terminates or rewinds an instance."""
        response = self.post(f"{instance_id}/{operation}?reason=test")
        assert response.status_code == 202, response.text

    def until(self, instance_id: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first status document that satisfies ``reached``."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            document = self.get(instance_id).json()
            if reached(document):
                return document
            assert time.monotonic() < deadline, f"never got there: {document}\n{self.host.output}"
            time.sleep(0.02)

    def finish(self, instance_id: str) -> dict[str, Any]:
        """The status document of an instance that has come to an end."""
        return self.until(instance_id, lambda d: d["runtimeStatus"] in ("Completed", "Failed", "Terminated"))

    def run(self, name: str, value: Any = None, **headers: str) -> dict[str, Any]:
        return self.finish(self.start(name, value, **headers))


@pytest.fixture(scope="session")
def instances(durable: DevHost) -> Iterator[Instances]:
    instances = Instances(durable)
    with instances.client:
        yield instances


@contextlib.contextmanager
def host_on(state: Path, app: str, **env: str) -> Iterator[Instances]:
    """A host for a sample app whose task hub outlives it, to be taken up by the next one."""
    with DevHost(APPS / app, env=env, args=("--state", str(state))) as host:
        instances = Instances(host)
        with instances.client:
            yield instances
