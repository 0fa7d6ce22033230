"""The app as a user has it: a copy of its folder, served by the devhost in a process of its own, reached over HTTP."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs
import grpc
import httpx

from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.thread import Thread, thread_key
from perdure.stores.threads import ThreadStore
from tests.devhost_process import REPOSITORY, DevHost, until
from tests.openai_server import Failure, OpenAIServer, Reply

DEPLOYED = ("function_app.py", "host.json", "activities", "agents", "orchestrators", "perdure", "triggers")
"""What of the repository an app folder needs."""

ADMIN_KEY = "an-admin-key-0123456789-for-tests-only"
"""What tests set PERDURE_ADMIN_KEY to."""

FINISH_SECONDS = 60
HUB = "Task hub on "

type Events = list[pb.HistoryEvent]

CLEARED = (
    "OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "PERDURE_STATE", "PERDURE_EMBEDDING_MODEL",
    "PERDURE_ADMIN_KEY", "PERDURE_OIDC_ISSUERS",
)  # fmt: skip
"""Settings of whoever runs the tests that must not reach the app."""


LIMITS = ("PERDURE_LIMIT_START", "PERDURE_LIMIT_WRITE", "PERDURE_LIMIT_READ")


def make_app_folder(
    folder: Path, extra_tools: Sequence[Path] = (), extra_agents: Mapping[str, str] | None = None
) -> Path:
    """Copy the app into an empty folder, and add tool and agent files as a user would.

    The host is told to say where its task hub is, for tests that look into durable history itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in DEPLOYED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    host = json.loads((folder / "host.json").read_text("utf-8"))
    host["logging"]["logLevel"]["Host.hub"] = "Debug"
    (folder / "host.json").write_text(json.dumps(host), "utf-8")
    for tool in extra_tools:
        shutil.copy(tool, folder / "activities" / "tools" / tool.name)
    for name, text in (extra_agents or {}).items():
        (folder / "agents" / f"{name}.yaml").write_text(text, "utf-8")
    return folder


class App:
    """The app in a folder, running. `client` sends a fresh admin key with every request.

    Args:
        folder: Made by `make_app_folder`.
        env: Settings, as environment variables.
        args: More arguments of the devhost's command line.
    """

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None, args: Sequence[str] = ()) -> None:
        # Tests send in a minute what no user does; those of the limits set their own.
        cleared = dict.fromkeys(CLEARED, "") | dict.fromkeys(LIMITS, "0")
        self.folder = folder
        self._env = {**cleared, **(env or {})}
        self.host = DevHost(folder, self._env, args)
        self._clients: list[httpx.Client] = []

    def __enter__(self) -> Self:
        self.host.__enter__()
        self.client = self.client_for(self.make_key("developer"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.close()
        self.host.__exit__(kind, error, trace)

    def make_key(self, user: str, *scopes: str, tenant: str = "default") -> str:
        """Make an API key with the command a user has for it; without scopes it is good for everything."""
        chosen = [argument for scope in scopes for argument in ("--scope", scope)]
        return self.command("key", "--tenant", tenant, "--user", user, *chosen)

    def command(self, *arguments: str) -> str:
        """Run `python -m perdure` as the app's operator would, and return what it prints."""
        ran = subprocess.run(
            [sys.executable, "-m", "perdure", *arguments],
            cwd=self.folder, env={**os.environ, **self._env}, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return ran.stdout.strip()

    def client_for(self, key: str) -> httpx.Client:
        return self.client_with({"X-API-Key": key})

    def client_with(self, headers: Mapping[str, str]) -> httpx.Client:
        client = httpx.Client(base_url=f"{self.host.url}/api", headers=headers, timeout=30)
        self._clients.append(client)
        return client

    def history(self, task_id: str) -> Events:
        """The durable history of a task's present generation, as the task hub keeps it."""
        address = self.host.wait_for_line(HUB).partition(HUB)[2].strip()
        with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
            hub: Any = stubs.TaskHubSidecarServiceStub(channel)
            request = pb.StreamInstanceHistoryRequest(instanceId=task_id)
            return [event for chunk in hub.StreamInstanceHistory(request) for event in chunk.events]

    def expire_lease(self, thread_id: str) -> None:
        """Let the lease of a thread run out, as if its task had given no sign of life."""

        async def expire() -> None:
            documents = SqliteDocuments(str(self.folder / ".perdure" / "state.db"))
            past = datetime.now(UTC) - timedelta(seconds=1)

            def cut(thread: Thread) -> Thread:
                assert thread.lease
                return replace(thread, lease=replace(thread.lease, expires=past))

            await ThreadStore(documents).change("default", thread_key("developer", thread_id), cut)
            await documents.close()

        asyncio.run(expire())

    def start(self, query: str, **fields: Any) -> dict[str, Any]:
        """Post a task and return the 202's body."""
        response = self.client.post("/agent/task", json={"query": query, **fields})
        assert response.status_code == 202, response.text
        return response.json()

    def start_urls(self, task_id: str) -> dict[str, str]:
        """The built-in management URLs of a task, whoever started it."""
        built_in = self.start("What is 1 + 1?")
        self.finish(built_in["task_id"])
        return {name: str(url).replace(built_in["task_id"], task_id) for name, url in built_in.items()}

    def load(self, *documents: tuple[str, str], client: httpx.Client | None = None) -> dict[str, Any]:
        """Load documents, each a title and a text, and return the ingestion's output."""
        body = {"documents": [{"title": title, "text": text} for title, text in documents]}
        response = (client or self.client).post("/memory/documents", json=body)
        assert response.status_code == 202, response.text
        url = response.json()["statusQueryGetUri"]
        state = until(lambda: httpx.get(url), lambda response: response.status_code != 202).json()
        assert state["runtimeStatus"] == "Completed", state
        return state["output"]

    def finish(
        self, task_id: str, seconds: float = FINISH_SECONDS, client: httpx.Client | None = None
    ) -> dict[str, Any]:
        """Wait until a task has ended and return it."""
        asking = client or self.client
        return until(lambda: asking.get(f"/agent/task/{task_id}"), lambda r: r.status_code != 202, seconds).json()

    def run(self, query: str, **fields: Any) -> dict[str, Any]:
        return self.finish(self.start(query, **fields)["task_id"])


class ScriptedProvider:
    """An OpenAI-protocol endpoint with one script per query, so that one running app serves many tests."""

    def __init__(self) -> None:
        self._scripts: dict[str, list[Reply | Callable[[dict[str, Any]], Reply]]] = {}
        self._standing: dict[str, Callable[[dict[str, Any]], Reply]] = {}
        self._unforeseen: list[str] = []
        self.server = OpenAIServer(self._decide)

    def plan(self, query: str, steps: Sequence[Reply | Callable[[dict[str, Any]], Reply]]) -> str:
        """Say what is answered, in order, to the task with this query."""
        self._scripts[query] = list(steps)
        return query

    @contextlib.contextmanager
    def answering(self, prefix: str, decide: Callable[[dict[str, Any]], Reply]) -> Iterator[None]:
        """Let a function answer every task whose conversation starts with a query of this prefix."""
        self._standing[prefix] = decide
        try:
            yield
        finally:
            del self._standing[prefix]

    def verify(self) -> None:
        """Fail on a request no script foresaw and on a step that was not used. Start afresh."""
        unused = {query: steps for query, steps in self._scripts.items() if steps}
        unforeseen, self._unforeseen, self._scripts = self._unforeseen, [], {}
        assert not unforeseen, f"requests without a script: {unforeseen}"
        assert not unused, f"steps that were not used: {unused}"

    def _decide(self, asked: dict[str, Any]) -> Reply:
        query = next(message["content"] for message in asked["messages"] if message["role"] == "user")
        for prefix, decide in self._standing.items():
            if prefix in query:
                return decide(asked)
        steps = self._scripts.get(query)
        if not steps:
            self._unforeseen.append(json.dumps(asked)[:2000])
            return Failure(400, "no script")
        step = steps.pop(0)
        return step(asked) if callable(step) else step
