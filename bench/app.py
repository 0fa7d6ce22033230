"""Perdure as a user runs it: a copy of the app with one more tool, on the devhost, reached over HTTP."""

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.system import BenchError
from tests.app import App, ScriptedProvider, make_app_folder
from tests.openai_server import Answer, Call

AGENT = "bench"
AGENT_FILE = f"""
name: {AGENT}
description: An agent whose only tool does nothing.
instructions: Call the tool as often as you are told.
tools: [noop]
limits: {{max_calls: 3000}}
"""
LISTED = 100
"""Most tasks that the list of tasks gives at once. Enough while no task is overtaken by so many others."""


class PerdureApp:
    """A running app.

    Args:
        query: Words a query that makes the model ask for so many calls in one turn.
    """

    def __init__(self, app: App, query: Callable[[int], str]) -> None:
        self._app = app
        self._query = query
        self._status_urls: dict[str, str] = {}

    @property
    def client(self) -> httpx.Client:
        """A client that may do everything."""
        return self._app.client

    @property
    def pid(self) -> int:
        return self._app.host.pid

    def start(self, calls: int) -> str:
        started = self._app.start(self._query(calls), agent=AGENT)
        self._status_urls[started["task_id"]] = started["statusQueryGetUri"]
        return started["task_id"]

    def has_ended(self, task_id: str) -> bool:
        # The list and not the task itself, whose answer contains every call: asking would be the larger work.
        (newest,) = self._list(1)
        return newest["task_id"] == task_id and newest["status"] != "processing"

    def has_closed(self, task_id: str) -> bool:
        status = self._app.client.get(self._status_urls[task_id]).json()
        return status["runtimeStatus"] in {"Completed", "Failed", "Terminated"}

    def ended(self, since: float) -> set[str]:
        first = datetime.fromtimestamp(since, UTC)
        return {
            task["task_id"]
            for task in self._list(LISTED)
            if task["status"] != "processing" and datetime.fromisoformat(task["created_at"]) >= first
        }

    def _list(self, limit: int) -> list[dict[str, Any]]:
        return self._app.client.get("/agent/task", params={"limit": limit}).json()["tasks"]

    def verify(self, task_ids: Iterable[str], calls: int) -> None:
        for task_id in task_ids:
            task = self._app.finish(task_id)
            states = [call["state"] for call in task["tool_calls"]]
            found = (task["status"], task["usage"]["steps"], states)
            if found != ("completed", 2, ["committed"] * calls):
                raise BenchError(f"not {calls} calls between two model steps: {str(found)[:200]}")

    def phases(self, task_id: str) -> tuple[float, float, float]:
        """Seconds of an ended task: until its first tool call began, until the last one had ended, until its result."""
        task = self._app.finish(task_id)
        created, ended = (datetime.fromisoformat(task[field]) for field in ("created_at", "ended_at"))
        first = min(datetime.fromisoformat(call["started_at"]) for call in task["tool_calls"])
        last = max(datetime.fromisoformat(call["ended_at"]) for call in task["tool_calls"])
        return ((first - created).total_seconds(), (last - first).total_seconds(), (ended - last).total_seconds())


@contextlib.contextmanager
def app_folder() -> Iterator[Path]:
    """A copy of the app with the tool and the agent of the benchmark."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        tool = Path(__file__).with_name("noop_tool.py")
        yield make_app_folder(Path(folder) / "app", extra_tools=[tool], extra_agents={AGENT: AGENT_FILE})


@contextlib.contextmanager
def offline_app() -> Iterator[PerdureApp]:
    """The app with the offline model, whose planner reads the calls out of the query."""
    with app_folder() as folder, App(folder) as app:
        yield PerdureApp(app, lambda calls: "; ".join(f"noop {number}" for number in range(calls)))


@contextlib.contextmanager
def scripted_app() -> Iterator[PerdureApp]:
    """The app with a model behind HTTP, which asks for any number of calls. It is served by this process."""
    provider, numbers = ScriptedProvider(), itertools.count(1)

    def plan(calls: int) -> str:
        asked = tuple(Call("noop", f'{{"number": {n}}}', id=f"call_{n}") for n in range(calls))
        return provider.plan(f"Task {next(numbers)}", [Answer(calls=asked, piece=1000), Answer("Done.", piece=1000)])

    settings = {"OPENAI_BASE_URL": provider.server.base_url, "PERDURE_MODEL": "scripted"}
    with provider.server, app_folder() as folder, App(folder, settings) as app:
        yield PerdureApp(app, plan)
        provider.verify()
