"""Outages of models as a caller sees them: waited out, answered by another model, or ended honestly."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from perdure.domain.breaker import FAILURES
from tests.api.test_task_loop import call
from tests.app import App, ScriptedProvider, make_app_folder, until
from tests.openai_server import Answer, Failure, Reply

AGENT = """
name: {name}
description: An agent whose model fails.
instructions: Answer.
model: {name}-model
fallback: {fallback}
tools: [calculate]
limits: {{outage_seconds: {seconds}}}
"""


def agent(name: str, fallback: str = "[]", seconds: float = 5) -> dict[str, str]:
    return {name: AGENT.format(name=name, fallback=fallback, seconds=seconds)}


PRICES = {
    "assured-model": {"input": 100, "output": 100},
    "spare": {"input": 1, "output": 2},
}


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider()
    with provider.server:
        yield provider


@pytest.fixture(scope="module")
def app(provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    agents = agent("assured", "[spare]", 60) | agent("alone") | agent("lone") | agent("mistaken", "[spare]")
    folder = make_app_folder(tmp_path_factory.mktemp("app"), extra_agents=agents)
    settings = {"OPENAI_BASE_URL": provider.server.base_url, "PERDURE_PRICES": json.dumps(PRICES)}
    with App(folder, settings) as app:
        yield app


def asked(provider: ScriptedProvider, query: str) -> list[str]:
    """The models that were asked in the task with this query."""
    return [one["model"] for one in provider.server.requests if one["messages"][1]["content"] == query]


def test_an_outage_ends_a_task_with_what_it_has(app: App, provider: ScriptedProvider) -> None:
    script: list[Reply] = [Answer("I calculate.", (call("calculate", expression="6*7"),)), *[Failure(503, "gone")] * 3]
    task = app.run(provider.plan("Lose the model", script), agent="alone")
    assert (task["status"], task["reason"]) == ("failed", "degraded")
    assert "gone" in task["detail"]
    assert task["result"].startswith("[Partial: the model became unavailable before it answered.")
    assert "I calculate." in task["result"]
    assert '- calculate {"expression": "6*7"}: 42' in task["result"]
    provider.verify()


def test_an_outage_before_anything_was_done_ends_a_task_without_a_result(app: App, provider: ScriptedProvider) -> None:
    task = app.run(provider.plan("Find nobody", [Failure(503, "gone")] * 3), agent="lone")
    assert (task["status"], task["reason"], task["result"]) == ("failed", "model_unavailable", None)
    provider.verify()


def test_a_model_that_is_not_there_is_stood_in_for_at_once(app: App, provider: ScriptedProvider) -> None:
    query = provider.plan("Ask the wrong one", [Failure(404, "no such deployment"), Answer("Here.")])
    assert app.run(query, agent="mistaken")["result"] == "Here."
    assert asked(provider, query) == ["mistaken-model", "spare"]
    provider.verify()


def test_a_model_that_is_down_is_stood_in_for_left_alone_and_named_by_health(
    app: App, provider: ScriptedProvider
) -> None:
    def only_the_spare_answers(request: dict[str, Any]) -> Reply:
        return Answer("Here.", usage=(1000, 100)) if request["model"] == "spare" else Failure(500)

    with provider.answering("Be assured", only_the_spare_answers):
        first = app.run("Be assured", agent="assured")
        again = app.run("Be assured again", agent="assured")
    assert (first["result"], again["result"]) == ("Here.", "Here.")
    assert asked(provider, "Be assured") == ["assured-model"] * FAILURES + ["spare"]
    assert asked(provider, "Be assured again") in (["spare"], ["assured-model", "spare"]), "a probe may have been due"
    assert first["usage"]["cost_usd"] == first["steps"][0]["cost_usd"] == 0.0012
    used = app.client.get("/usage", params={"by": "agent,model"}).json()["usage"]
    assert {row["model"] for row in used if row["agent"] == "assured"} == {"spare"}
    health = until(lambda: httpx.get(f"{app.host.url}/api/health"), lambda found: "degraded" in found.text, 10)
    assert (health.status_code, health.json()) == (200, {"status": "degraded", "down": ["model"]})


def test_the_catalogue_names_who_stands_in(app: App) -> None:
    agents = {one["name"]: one for one in app.client.get("/agents").json()["agents"]}
    assert agents["assured"]["fallback"] == ["spare"]
    assert agents["assistant"]["fallback"] == []
