"""Ways in which a store fails a running app, and ways to look at what is left of it."""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from perdure.bootstrap import open_documents
from perdure.documents.containers import Container
from perdure.documents.port import Body
from perdure.settings import Settings
from tests.api.test_task_loop import call
from tests.app import App, ScriptedProvider, until
from tests.cosmos.endpoint import CosmosEndpoint
from tests.cosmos.fault_proxy import Fault, FaultProxy
from tests.openai_server import Answer

COURIER = """
name: courier
description: An agent whose tools leave traces.
instructions: Deliver.
tools: [calculate, echo, slow_effect, deliver]
limits: {approval_seconds: 1}
"""
DELIVER = '''
import asyncio
import uuid
from pathlib import Path

from perdure.tools import tool


@tool(timeout=1)
async def deliver(outbox: str) -> str:
    """Leave a file in a folder, and end when the file `seen` is there too.

    Args:
        outbox: The folder.
    """
    (Path(outbox) / uuid.uuid4().hex).touch()
    while not (Path(outbox) / "seen").exists():
        await asyncio.sleep(0.01)
    return "delivered"
'''
THROTTLED = Fault(status=429, retry_after_ms=500)
REFUSED = Fault(status=403)
"""A refused credential, as while keys are rotated. The adapter gives up at once: the shortest way past its patience."""
REFUSED_AND_DONE = Fault(forwarded=True, status=403)
SOON = 1.5
"""Seconds of an absence that the adapter bridges: its pauses come to 2.6 at the least."""
LATE = 9.0
"""Seconds of an absence that outlasts the adapter: its pauses come to 8 at the most."""

type Meets = Callable[[str, bytes], bool]
"""Whether a request is meant, by its method and path and by its body."""


def feed(request: str, body: bytes) -> bool:
    """Requests for what is new of a task."""
    return request == "GET /dbs/perdure/colls/tasks/docs/"


def holds(container: Container, *words: str) -> Meets:
    """Requests to a container whose body has all of these words, and which are no queries."""
    path = f"/colls/{container.name}/docs"

    def meets(request: str, body: bytes) -> bool:
        text = body.decode()
        return path in request and '"SELECT' not in text and all(word in text for word in words)

    return meets


class Outage:
    """A fault of every request for some seconds, from the first request that is meant.

    Attributes:
        first: The fault of that request.
        began: Set when it came.
    """

    def __init__(self, begins: Meets, seconds: float, fault: Fault, first: Fault | None = None) -> None:
        self.began = threading.Event()
        self.first = first or fault
        self._begins, self._seconds, self._fault = begins, seconds, fault

    def __call__(self, request: str, body: bytes) -> Fault | None:
        if self.began.is_set():
            return self._fault if time.monotonic() < self._ends else None
        if not self._begins(request, body):
            return None
        self._ends = time.monotonic() + self._seconds
        self.began.set()
        return self.first


class Losses:
    """Faults of the requests that are meant and of their repetitions, in order; None lets one pass. Others pass.

    Attributes:
        began: Set when the first came.
    """

    def __init__(self, meets: Meets, *faults: Fault | None) -> None:
        self.began = threading.Event()
        self._meets, self._faults = meets, list(faults)

    def __call__(self, request: str, body: bytes) -> Fault | None:
        if not self._faults or not self._meets(request, body):
            return None
        self.began.set()
        return self._faults.pop(0)


class EveryWrite:
    """These faults of every write and of its repetitions, in order; reads pass.

    Attributes:
        began: Set when the first came.
        attempts: How often each write was tried.
    """

    def __init__(self, *faults: Fault) -> None:
        self.began = threading.Event()
        self.attempts = Counter[tuple[str, bytes]]()
        self._faults = faults

    def __call__(self, request: str, body: bytes) -> Fault | None:
        if request.startswith("GET") or b'"SELECT' in body:
            return None
        self.began.set()
        self.attempts[request, body] += 1
        earlier = self.attempts[request, body] - 1
        return self._faults[earlier] if earlier < len(self._faults) else None


@contextlib.contextmanager
def during(proxy: FaultProxy, faults: Outage | Losses | EveryWrite) -> Iterator[None]:
    """Let the proxy do harm. Fails when nothing met it: the test would have tested nothing."""
    proxy.decide = faults
    try:
        yield
    finally:
        proxy.decide = None
    assert faults.began.is_set(), "no request met the fault"


def stored(endpoint: CosmosEndpoint, container: Container, *partition: str) -> dict[str, Body]:
    """All documents of a partition by their ids, read past the proxy."""
    settings = {"PERDURE_STATE": "cosmos", "COSMOS_ENDPOINT": endpoint.url, "COSMOS_KEY": endpoint.key}

    async def read() -> dict[str, Body]:
        documents = open_documents(Settings.from_env(settings))
        try:
            return {item.body["id"]: item.body for item in (await documents.page(container, partition)).items}
        finally:
            await documents.close()

    return asyncio.run(read())


def ended(started: dict[str, Any]) -> None:
    """Wait until an orchestration has ended, by its status URL, which does not ask the store."""
    until(lambda: httpx.get(started["statusQueryGetUri"]), lambda response: response.status_code != 202)


def run(app: App, query: str, **fields: Any) -> dict[str, Any]:
    """Run a task without looking at it before its end, for that would take part in the store's faults."""
    started = app.start(query, agent="courier", **fields)
    ended(started)
    return app.finish(started["task_id"])


def first_query(asked: dict[str, Any]) -> str:
    return next(message["content"] for message in asked["messages"] if message["role"] == "user")


def times_asked(provider: ScriptedProvider, query: str) -> int:
    """How often the model was asked in tasks whose conversation starts with a query."""
    return sum(first_query(asked) == query for asked in provider.server.requests)


def effects(count: int, folder: Path) -> Answer:
    """A reply that asks for so many effects that must not happen twice. Each leaves a file in the folder."""
    calls = tuple(call("slow_effect", number, folder=str(folder)) for number in range(count))
    return Answer(f"I shall leave traces in {folder}.", calls)


def call_ids(count: int) -> set[str]:
    return {f"call-00001-{number:05}" for number in range(count)}
