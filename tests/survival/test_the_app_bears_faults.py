"""Three hundred tasks while provider and store fail at random: each ends as documented, and no effect comes twice."""

import contextlib
import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from perdure.domain.task import Reason
from tests.app import App, make_app_folder
from tests.cosmos.endpoint import CosmosEndpoint, require_node
from tests.cosmos.fault_proxy import FaultProxy
from tests.devhost_process import until
from tests.openai_server import Answer, Call, OpenAIServer
from tests.survival.app_life import TOOLS
from tests.survival.faults import FINAL, MODEL_TIMEOUT, NONSENSE, PASSING, STORE, Provider, Store

SEED = int(os.environ.get("SURVIVAL_SEED", "7"))
TASKS = 300
AT_ONCE = 32
STORE_FAULTS = 0.02
"""The share of requests to the store that meet a fault. A task makes about fifty."""

AGENT = """
name: clerk
description: An agent that charges for orders.
instructions: Charge for the order, look it up, and charge for its delivery.
tools: [charge, look_up]
fallback: [stand-in]
limits: {max_steps: 12, max_seconds: 90, outage_seconds: 20, approval_seconds: 5}
"""


@pytest.mark.timeout(600)
def test_every_task_ends_as_documented_and_no_effect_comes_twice(tmp_path: Path) -> None:
    require_node()
    folder = make_app_folder(tmp_path / "app", extra_tools=[TOOLS], extra_agents={"clerk": AGENT})
    counter = tmp_path / "effects"
    provider, store = Provider(SEED, _answer), Store(SEED, STORE_FAULTS)
    with (
        CosmosEndpoint() as endpoint,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(FaultProxy(endpoint.url)) as proxy,
        OpenAIServer(provider) as model,
        App(
            folder,
            {
                "PERDURE_STATE": "cosmos", "COSMOS_ENDPOINT": proxy.url, "COSMOS_KEY": endpoint.key,
                "OPENAI_BASE_URL": model.base_url, "PERDURE_MODEL": "scripted",
                "PERDURE_MODEL_TIMEOUT": str(MODEL_TIMEOUT), "PERDURE_LIMIT_USER_TASKS": "0", "EFFECTS": str(counter),
            },
        ) as app,
    ):  # fmt: skip
        proxy.decide = store
        with ThreadPoolExecutor(AT_ONCE) as pool:
            statuses = list(pool.map(lambda number: _run(app, f"F{number}"), range(TASKS)))
        proxy.decide = None
        tasks = [app.client.get(f"/agent/task/{id}").json() for id in statuses]
    effects = Counter(counter.read_text("utf-8").split("\n")[:-1])
    assert len(tasks) == TASKS
    assert len(provider.harm) >= len(PASSING) + len(FINAL) + len(NONSENSE) - 4, provider.harm
    assert len(store.harm) == len(STORE), store.harm
    assert Counter(task["status"] for task in tasks)["completed"] > TASKS / 2, Counter(t["reason"] for t in tasks)
    charged = Counter(line.split()[1] for line in effects.elements() if line.startswith("charge "))
    for task in tasks:
        assert task["reason"] in set(Reason), task
        for call in task["tool_calls"]:
            if call["tool"] == "charge" and call["state"] != "failed":
                _hold(call, charged)
    asked_for = {_order(c) for task in tasks for c in task["tool_calls"] if c["tool"] == "charge"}
    # Nothing happened that no task knows of.
    assert charged.keys() <= asked_for


def _hold(call: dict[str, Any], charged: Counter[str]) -> None:
    happened = charged[_order(call)]
    match call["state"]:
        case "committed":
            assert happened == 1, call
        case "unknown":
            assert happened <= 1, call
        case _:
            # The task ended before it was started.
            assert happened == 0, call


def _run(app: App, order: str) -> str:
    """Start a task, however often that takes, and wait for its end; its id."""
    body, headers = {"query": f"Order {order}", "agent": "clerk"}, {"Idempotency-Key": order}

    def start() -> dict[str, Any] | None:
        with contextlib.suppress(httpx.TimeoutException):
            answer = app.client.post("/agent/task", json=body, headers=headers)
            assert answer.status_code in (202, 503), answer.text
            return answer.json() if answer.status_code == 202 else None
        return None

    started = until(start, bool, 240, every=0.5)
    assert started is not None
    until(lambda: httpx.get(started["statusQueryGetUri"]), lambda answer: answer.status_code != 202, 240, every=0.5)
    return started["task_id"]


def _order(call: dict[str, Any]) -> str:
    try:
        return str(json.loads(call["input"])["order"])
    except (ValueError, KeyError):
        return ""


def _answer(query: str, messages: list[dict[str, Any]]) -> Answer:
    """What comes next for an order, by what was settled of it."""
    order = query.removeprefix("Order ")
    asked = {call["function"]["arguments"] for message in messages for call in message.get("tool_calls") or ()}
    for turn in ((("charge", order), ("look_up", order)), (("charge", f"{order}-delivery"),)):
        calls = [Call(tool, json.dumps({"order": of}), id=f"{tool}-{of}") for tool, of in turn]
        if not any(call.arguments in asked for call in calls):
            return Answer(calls=tuple(calls))
    return Answer(f"Order {order} is settled.")
