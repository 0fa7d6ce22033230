"""Budgets, prices and what was used, as users meet them."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.test_http import problem
from tests.api.test_task_loop import call
from tests.app import App, ScriptedProvider, make_app_folder, until
from tests.openai_server import Answer

AGENTS = {
    "plain": "name: plain\ndescription: d\ninstructions: i\ntools: [calculate]\n",
    "frugal": "name: frugal\ndescription: d\ninstructions: i\ntools: [calculate]\nbudget: {tokens: 6000, usd: 0.01}\n"
    "limits: {max_output_tokens: 1000}\n",
    "strange": "name: strange\ndescription: d\ninstructions: i\nmodel: nobody-knows-its-price\n",
}
DAY_TOKENS = 100_000
STEP = Answer("I add.", (call("calculate", expression="1+1"),), usage=(1000, 100))
"""A step that is 1,100 tokens and costs $0.0012."""


@pytest.fixture(scope="module")
def app(provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    settings = {
        "OPENAI_BASE_URL": provider.server.base_url,
        "PERDURE_MODEL": "scripted",
        "PERDURE_BUDGET_USER_DAY_TOKENS": str(DAY_TOKENS),
        "PERDURE_BUDGET_TENANT_MONTH_TOKENS": "10000000",
        "PERDURE_PRICES": json.dumps({"scripted": {"input": 1, "output": 2}}),
    }
    with App(make_app_folder(tmp_path_factory.mktemp("budgets") / "app", extra_agents=AGENTS), settings) as app:
        yield app
        provider.verify()


def run(app: App, client: httpx.Client, query: str, agent: str = "plain", **fields: Any) -> dict[str, Any]:
    started = client.post("/agent/task", json={"query": query, "agent": agent, **fields})
    assert started.status_code == 202, started.text
    return app.finish(started.json()["task_id"], client=client)


def used(client: httpx.Client, **query: str) -> dict[str, Any]:
    answer = client.get("/usage", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_task_whose_budget_is_used_up_returns_what_it_found(app: App, provider: ScriptedProvider) -> None:
    # A request has at least the 1,100 tokens again that the step before was. Of 6,000 tokens, four such steps leave
    # 1,600 and therefore a shorter reply than the agent's, and five leave too little for any.
    found = Answer("It is 2 so far.", STEP.calls, usage=STEP.usage)
    query = provider.plan("Go on", [STEP, STEP, STEP, STEP, found])
    started = app.start(query, agent="frugal")
    task = app.finish(started["task_id"])
    assert (task["status"], task["reason"]) == ("failed", "budget_exceeded")
    assert task["result"] == "It is 2 so far."
    assert "The task's budget is used up: 5,500 of 6,000 tokens are used" in task["detail"]
    assert len(task["tool_calls"]) == len(task["thoughts"]) == len(task["steps"]) == 5
    assert task["usage"] == {"input_tokens": 5000, "output_tokens": 500, "steps": 5, "cost_usd": 0.006}
    assert [step["cost_usd"] for step in task["steps"]] == [0.0012] * 5
    status = until(lambda: httpx.get(started["statusQueryGetUri"]), lambda response: response.status_code != 202)
    output = status.json()["output"]
    assert (output["reason"], output["result"]) == ("budget_exceeded", "It is 2 so far.")
    assert output["usage"] == task["usage"]
    # The replies were bounded by the agent, and at last by what was left.
    asked = [one["max_completion_tokens"] for one in provider.server.requests if query in str(one["messages"])]
    assert asked[0] == 1000
    assert asked[-1] < 1000


@pytest.mark.parametrize(
    ("agent", "budget", "reason", "said"),
    [
        ("frugal", {"usd": 0.002}, "budget_exceeded", "$0.0012 of $0.002 are used"),
        # More than the agent has is what the agent has.
        ("frugal", {"usd": 5, "tokens": 10**9}, "budget_exceeded", "of 6,000 tokens are used"),
        ("plain", {"steps": 1}, "step_limit", "No answer within 1 steps."),
    ],
)
def test_a_request_can_only_lower_what_its_agent_may(
    app: App, provider: ScriptedProvider, agent: str, budget: dict[str, Any], reason: str, said: str
) -> None:
    with provider.answering("On and on", lambda _: STEP):
        task = run(app, app.client, "On and on", agent, budget=budget)
    assert (task["reason"], said in task["detail"]) == (reason, True), task["detail"]


def test_seconds_of_a_request_are_its_time_limit(app: App, provider: ScriptedProvider) -> None:
    def never(_: dict[str, Any]) -> Answer:
        return Answer("x" * 300, pause=0.1, piece=1)

    with provider.answering("Take your time", never):
        assert run(app, app.client, "Take your time", budget={"seconds": 1.5})["reason"] == "time_limit"


@pytest.mark.parametrize(
    "budget", [{"tokens": 0}, {"usd": 0}, {"usd": -1}, {"steps": 0}, {"seconds": 0}, {"steps": 1.5}, {"euros": 1}, 5]
)
def test_a_budget_that_is_none_is_refused(app: App, budget: Any) -> None:
    body = problem(app.client.post("/agent/task", json={"query": "x", "budget": budget}), 422)
    assert "/budget" in body["detail"]


def test_money_cannot_bound_a_model_that_nobody_knows_the_price_of(app: App, provider: ScriptedProvider) -> None:
    asked = {"query": "What do you cost?", "agent": "strange"}
    refused = problem(app.client.post("/agent/task", json=asked | {"budget": {"usd": 1}}), 422)
    assert refused["errors"][0]["pointer"] == "/budget/usd"
    assert "nobody-knows-its-price" in refused["detail"]
    assert "PERDURE_PRICES" in refused["detail"]
    task = run(app, app.client, provider.plan("What do you cost?", [Answer("Who knows.")]), "strange")
    assert (task["result"], task["usage"]["cost_usd"]) == ("Who knows.", None)
    strange = [row for row in used(app.client)["usage"] if row["agent"] == "strange"]
    assert [(row["steps"], row["cost_usd"]) for row in strange] == [(1, None)]


def test_a_user_whose_day_is_used_up_is_told_when_it_renews_and_others_go_on(
    app: App, provider: ScriptedProvider
) -> None:
    ann, bob = (app.client_for(app.make_key(user, "task:run", "task:read")) for user in ("ann", "bob"))
    run(app, ann, provider.plan("Spend it all", [Answer("Spent.", usage=(DAY_TOKENS - 200, 100))]))
    refused = run(app, ann, "One more")
    assert (refused["status"], refused["reason"], refused["result"]) == ("failed", "budget_exceeded", None)
    assert "99,900 of 100,000 tokens are used" in refused["detail"]
    assert "It renews at " in refused["detail"]
    assert run(app, bob, provider.plan("Mine is mine", [Answer("Yes.")]))["result"] == "Yes."


def test_sixty_four_tasks_at_once_use_no_more_than_the_budget(app: App, provider: ScriptedProvider) -> None:
    crowd = app.client_for(app.make_key("crowd", "task:run", "task:read"))

    def long(asked: dict[str, Any]) -> Answer:
        return Answer("Long.", usage=(10, min(3900, asked["max_completion_tokens"])))

    def start(number: int) -> str:
        body = {"query": f"Write at length {number}", "agent": "strange"}
        return crowd.post("/agent/task", json=body).raise_for_status().json()["task_id"]

    with provider.answering("Write at length", long), ThreadPoolExecutor(16) as pool:
        tasks = [app.finish(task_id, 90, crowd) for task_id in pool.map(start, range(64))]
    reasons = {task["reason"] for task in tasks}
    assert reasons == {"answered", "budget_exceeded"}
    spent = used(crowd, by="user")["total"]
    assert spent["steps"] == sum(task["reason"] == "answered" for task in tasks)
    assert DAY_TOKENS - 4500 < spent["input_tokens"] + spent["output_tokens"] <= DAY_TOKENS


def test_use_is_told_by_day_agent_model_and_user_to_those_it_concerns(app: App, provider: ScriptedProvider) -> None:
    day = datetime.now(UTC).date()
    cat, dog = (app.client_for(app.make_key(user, "task:run", "task:read")) for user in ("cat", "dog"))
    other_tenant = app.client_for(app.make_key("cat", tenant="other"))
    for query in ("First of cat", "Second of cat"):
        run(app, cat, provider.plan(query, [Answer("Meow.", usage=(100, 10))]))
    run(app, dog, provider.plan("Of dog", [Answer("Woof.", usage=(1, 1))]), "frugal")
    own = used(cat)
    # Around midnight the tasks may be of two days.
    [row] = used(cat, by="agent,model,user")["usage"]
    assert row == {
        "day": None, "agent": "plain", "model": "scripted", "user": "cat",
        "tasks": 2, "steps": 2, "input_tokens": 200, "output_tokens": 20, "cost_usd": 0.00024,
    }  # fmt: skip
    assert {one["user"] for one in own["usage"]} == {"cat"}
    assert {one["day"] for one in own["usage"]} <= {str(day), str(day + timedelta(days=1))}
    assert own["total"] == row | {"agent": None, "model": None, "user": None}
    assert (own["from"], own["to"]) == (str(day - timedelta(days=29)), str(day))
    assert "What others used" in problem(cat.get("/usage", params={"user": "dog"}), 403)["detail"]
    assert used(cat, user="cat")["usage"] == own["usage"]
    # An administrator sees the tenant, and whom they choose; of another tenant, nothing.
    everybody = {one["user"]: one for one in used(app.client, by="user")["usage"]}
    assert everybody["cat"]["steps"] == 2
    assert everybody["dog"]["steps"] == 1
    assert used(app.client, user="dog", by="user")["usage"] == [everybody["dog"]]
    assert used(other_tenant)["usage"] == []
    assert used(cat, **{"from": "2020-01-01", "to": "2020-12-31"})["total"]["steps"] == 0


@pytest.mark.parametrize(
    "query",
    [{"from": "yesterday"}, {"to": "2030-02-30"}, {"by": "hour"}, {"by": ""}, {"user": ""}],
)  # fmt: skip
def test_a_question_about_use_that_is_none_is_refused(app: App, query: dict[str, str]) -> None:
    problem(app.client.get("/usage", params=query), 422)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"to": "0001-01-02"}, ("0001-01-01", "0001-01-02")),
        ({"from": "9999-12-31", "to": "9999-12-31"}, ("9999-12-31", "9999-12-31")),
        ({"from": "2021-01-02", "to": "2021-01-01"}, ("2021-01-02", "2021-01-01")),
        ({"from": "1970-01-01", "to": "2021-12-31"}, ("2020-11-27", "2021-12-31")),
    ],
)
def test_days_without_use_and_more_days_than_are_kept_may_be_asked_for(
    app: App, asked: dict[str, str], shown: tuple[str, str]
) -> None:
    for whose in ({}, {"user": "developer"}):
        answer = used(app.client, **asked, **whose)
        assert ((answer["from"], answer["to"]), answer["usage"]) == (shown, [])


def test_what_a_user_used_is_exported_and_erased_with_the_rest(app: App, provider: ScriptedProvider) -> None:
    eve = app.client_for(app.make_key("eve"))
    run(app, eve, provider.plan("Of eve", [Answer("Yes.", usage=(5, 5))]))
    exported = [json.loads(line)["document"] for line in app.client.get("/users/eve/export").text.splitlines()]
    [line] = [line for line in exported if line["type"] == "usage"]
    assert (line["user"], line["use"]["plain"]["scripted"]["steps"]) == ("eve", 1)
    receipt = app.client.delete("/users/eve").raise_for_status().json()
    assert receipt["removed"]["usage"] == 1
    until(lambda: used(app.client, user="eve")["usage"], lambda rows: rows == [])
