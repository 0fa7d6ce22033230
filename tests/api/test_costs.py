"""What tools cost, and who is told when a task or a day costs unusually much, in the running app."""

import json
from collections.abc import Iterator

import pytest

from tests.api.conftest import FAULTY
from tests.api.test_task_loop import call
from tests.app import App, ScriptedProvider, make_app_folder
from tests.devhost_process import REPOSITORY
from tests.openai_server import Answer
from tests.webhook import Webhook


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


@pytest.fixture(scope="module")
def app(provider: ScriptedProvider, webhook: Webhook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    settings = {
        "OPENAI_BASE_URL": provider.server.base_url,
        "PERDURE_MODEL": "scripted",
        "PERDURE_PRICES": json.dumps({"scripted": {"input": 1, "output": 2}}),
        "PERDURE_ALERT_WEBHOOK": webhook.url,
        "PERDURE_ALERT_TASK_USD": "1",
        "PERDURE_ALERT_DAY_USD": "3",
    }
    faulty = FAULTY.replace("tools: [", "tools: [look_up, ")
    tools = [REPOSITORY / "tests" / "fault_tools.py"]
    with App(make_app_folder(tmp_path_factory.mktemp("costs") / "app", tools, {"faulty": faulty}), settings) as app:
        yield app
        provider.verify()


def test_what_a_tool_says_it_cost_stands_with_the_call_and_in_the_sums(app: App, provider: ScriptedProvider) -> None:
    ann = app.client_for(app.make_key("ann"))
    calls = (call("look_up", 0, usd=0.25), call("look_up", 1, usd=0.005), call("explode", 2, message="boom"))
    query = provider.plan("Look it up", [Answer(calls=calls), Answer("Found.")])
    started = ann.post("/agent/task", json={"query": query, "agent": "faulty"}).json()
    task = app.finish(started["task_id"], client=ann)
    assert [entry["cost_usd"] for entry in task["tool_calls"]] == [0.25, 0.005, 0.0]
    report = ann.get("/usage", params={"user": "ann", "by": "agent,user"}).json()
    found = {row["tool"]: row for row in report["tools"]}
    assert found["look_up"] | {"seconds": 0} == {
        "day": None, "agent": "faulty", "user": "ann", "tool": "look_up",
        "calls": 2, "failed": 0, "seconds": 0, "cost_usd": 0.255,
    }  # fmt: skip
    assert (found["explode"]["calls"], found["explode"]["failed"]) == (1, 1)
    assert report["total"]["tasks"] == 1


def test_tools_that_a_task_ended_with_are_counted_too(app: App, provider: ScriptedProvider) -> None:
    bob = app.client_for(app.make_key("bob"))
    query = provider.plan("Look it up in vain", [Answer(calls=(call("look_up", usd=0.5),), usage=(3500, 0))])
    body = {"query": query, "agent": "faulty", "budget": {"tokens": 4000}}
    task = app.finish(bob.post("/agent/task", json=body).json()["task_id"], client=bob)
    assert task["reason"] == "budget_exceeded"
    [row] = bob.get("/usage", params={"user": "bob"}).json()["tools"]
    assert (row["calls"], row["cost_usd"]) == (1, 0.5)


def test_the_webhook_hears_of_a_task_and_of_a_day_that_cost_unusually_much(
    app: App, provider: ScriptedProvider, webhook: Webhook
) -> None:
    tasks = [app.run(provider.plan(f"Spend {n}", [Answer("Spent.", usage=(1_600_000, 0))])) for n in range(3)]
    messages = webhook.wait_for(4)
    assert [message["task_id"] for message in messages if message["alert"] == "task_cost"] == [
        task["task_id"] for task in tasks
    ]
    [day] = [message for message in messages if message["alert"] == "day_cost"]
    assert (day["user"], day["cost_usd"], day["usual_usd"]) == ("developer", 3.2, None)
