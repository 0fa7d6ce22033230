"""The app over many lives of its host: tasks whose tools have effects that are counted outside of it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.app import ADMIN_KEY, make_app_folder
from tests.devhost_process import until
from tests.forked_host import ForkedHost
from tests.openai_server import Answer, Call, OpenAIServer
from tests.survival.dying_ledger import be_quick

AGENT = """
name: clerk
description: An agent that charges for orders.
instructions: Charge for the order, look it up, and charge for its delivery.
tools: [charge, look_up]
limits: {max_steps: 5, max_seconds: 600}
"""
TOOLS = Path(__file__).with_name("app_tools.py")
MODULES = (
    "azurefunctions.extensions.http.fastapi", "fastapi", "fastapi_offline", "openai.resources.chat", "jwt", "numpy",
    "pint", "yaml", "simpleeval", "httpx", "genai_prices", "pydantic", "starlette.responses",
)  # fmt: skip
"""What the app imports of libraries. Its own modules are those of its folder."""

type Effect = tuple[str, str]
"""Tool and order."""


class AppLife:
    """One store and one task hub over all lives of the app."""

    def __init__(self, folder: Path) -> None:
        app = make_app_folder(folder / "app", extra_tools=[TOOLS], extra_agents={"clerk": AGENT})
        self.counter = folder / "effects"
        self._model = OpenAIServer(_decide)
        settings = {
            "PERDURE_ADMIN_KEY": ADMIN_KEY,
            "PERDURE_STATE": f"sqlite:{folder / 'state.db'}",
            "OPENAI_BASE_URL": self._model.base_url,
            "PERDURE_MODEL": "scripted",
            "PERDURE_LIMIT_START": "0",
            "PERDURE_LIMIT_READ": "0",
            "PERDURE_LIMIT_WRITE": "0",
            "EFFECTS": str(self.counter),
        }
        self.host = ForkedHost(app, folder / "hub", folder / "printed", settings, modules=MODULES)
        self.client = httpx.Client(base_url=f"{self.host.url}/api", headers={"X-API-Key": ADMIN_KEY}, timeout=30)
        self.tasks: dict[str, str] = {}
        self._wanted: dict[str, None] = {}

    def __enter__(self) -> "AppLife":
        self._model.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.host.stop()
        self.client.close()
        self._model.__exit__(None, None, None)

    def start(self, order: str) -> None:
        """Starts a task; once, however often that has to be asked for. Raises httpx.TransportError."""
        self._wanted[order] = None
        body = {"query": f"Order {order}", "agent": "clerk"}
        answer = self.client.post("/agent/task", json=body, headers={"Idempotency-Key": order})
        assert answer.status_code == 202, answer.text
        self.tasks[order] = answer.json()["task_id"]

    def has_ended(self, order: str) -> bool:
        """Whether its task has; also if the host has died."""
        try:
            return self.client.get(f"/agent/task/{self.tasks[order]}").status_code == 200
        except httpx.TransportError:
            return False

    def finish(self) -> tuple[dict[str, str], set[str]]:
        """Lets a last life do the rest, with a person who looks what became of calls whose outcome is unknown.

        Returns:
            The result of each task by its order, and the orders that a person was asked about.
        """
        self.host.begin(be_quick)
        self.host.wait_until_ready()
        for order in [order for order in self._wanted if order not in self.tasks]:
            self.start(order)
        asked: set[str] = set()

        def settled() -> bool:
            for question in self.client.get("/approvals", params={"limit": 100}).json()["approvals"]:
                assert question["kind"] == "unknown_outcome"
                order = json.loads(question["input"])["order"]
                asked.add(order)
                happened = self.effects()[question["tool"], order]
                path = f"/agent/task/{question['task_id']}/approvals/{question['approval_id']}"
                answer = self.client.post(path, json={"resolve": "committed" if happened else "retry"})
                assert answer.status_code in (200, 409), answer.text
            return all(self.has_ended(order) for order in self.tasks)

        until(settled, bool, 240)
        found = {order: self.client.get(f"/agent/task/{task}").json() for order, task in self.tasks.items()}
        return {order: task["result"] for order, task in found.items()}, asked

    def effects(self) -> Counter[Effect]:
        """How often each tool has had its effect on each order."""
        return Counter((tool, order) for tool, order, _ in self._lines())

    def keys(self) -> dict[Effect, set[str]]:
        """The idempotency keys that each effect was asked for with."""
        found: dict[Effect, set[str]] = {}
        for tool, order, key in self._lines():
            found.setdefault((tool, order), set()).add(key)
        return found

    def _lines(self) -> list[list[str]]:
        return [line.split() for line in self.counter.read_text("utf-8").splitlines()] if self.counter.exists() else []


def _decide(asked: dict[str, Any]) -> Answer:
    """Three calls in two turns, and an answer: by the conversation alone, for a request may come again."""
    messages = asked["messages"]
    order = next(m["content"] for m in messages if m["role"] == "user").removeprefix("Order ")
    match sum(message["role"] == "assistant" for message in messages):
        case 0:
            return Answer(calls=(_call("charge", order, "a"), _call("look_up", order, "b")))
        case 1:
            return Answer(calls=(_call("charge", f"{order}-delivery", "c"),))
        case _:
            return Answer(f"Order {order} is settled.")


def _call(tool: str, order: str, id: str) -> Call:
    return Call(tool, json.dumps({"order": order}), id=id)
