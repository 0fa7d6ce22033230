"""Limits of an app, as its users meet them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.api.test_http import problem
from tests.app import App, ScriptedProvider, make_app_folder, until
from tests.openai_server import Answer


def test_a_user_over_the_limit_is_told_when_to_come_back_and_others_are_served(tmp_path: Path) -> None:
    with App(make_app_folder(tmp_path / "app"), {"PERDURE_LIMIT_READ": "30", "PERDURE_LIMIT_START": "9"}) as app:
        ann, bob = app.client_for(app.make_key("ann")), app.client_for(app.make_key("bob"))
        # Twice the limit, so that at least one minute's is reached even if a new minute begins meanwhile.
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: ann.get("/agents"), range(64)))
        refused = [answer for answer in answers if answer.status_code != 200]
        assert len(answers) - len(refused) in range(30, 61)
        for answer in refused:
            problem(answer, 429)
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert answer.headers["RateLimit-Policy"] == '"read";q=30;w=60'
        served = bob.get("/agents")
        assert (served.status_code, served.headers["RateLimit"].split(";")[:2]) == (200, ['"read"', "r=29"])
        # Other kinds of requests are counted apart; nobody is counted where nobody is known.
        invalid = ann.post("/agent/task", json={"query": ""})
        assert (invalid.status_code, invalid.headers["RateLimit"].split(";")[:2]) == (422, ['"start"', "r=8"])
        assert "RateLimit" not in ann.get("/health").headers


def test_more_tasks_at_once_than_may_run_are_refused_until_one_has_ended(tmp_path: Path) -> None:
    provider, release = ScriptedProvider(), threading.Event()

    def held(_: dict[str, Any]) -> Answer:
        assert release.wait(60)
        return Answer("At last.")

    def start(client: httpx.Client) -> httpx.Response:
        return client.post("/agent/task", json={"query": "Run beside others"})

    limits = {"PERDURE_LIMIT_USER_TASKS": "5", "PERDURE_LIMIT_TENANT_TASKS": "7"}
    with (
        provider.server,
        provider.answering("Run beside others", held),
        App(make_app_folder(tmp_path / "app"), limits | {"OPENAI_BASE_URL": provider.server.base_url}) as app,
        ThreadPoolExecutor(64) as pool,
    ):
        ann, bob = app.client_for(app.make_key("ann", "task:run", "task:read")), app.client_for(app.make_key("bob"))
        answers = list(pool.map(lambda _: start(ann), range(64)))
        started = [answer.json()["task_id"] for answer in answers if answer.status_code == 202]
        assert len(started) == 5
        refused = [answer for answer in answers if answer.status_code != 202]
        for answer in refused:
            assert "You have 5 tasks running" in problem(answer, 429)["detail"]
            assert (answer.headers["Retry-After"], answer.headers["RateLimit-Policy"]) == ("10", '"user-tasks";q=5')
        # What was refused is not there.
        assert {task["task_id"] for task in ann.get("/agent/task?limit=100").json()["tasks"]} == set(started)
        assert [start(bob).status_code for _ in range(2)] == [202, 202]
        full = start(bob)
        assert "Your tenant has 7 tasks" in problem(full, 429)["detail"]
        assert full.headers["RateLimit-Policy"] == '"tenant-tasks";q=7'
        # One that is cancelled makes room, and so do those that answer.
        ann.post(f"/agent/task/{started[0]}/cancel").raise_for_status()
        assert start(bob).status_code == 202
        release.set()
        for task_id in started[1:]:
            assert app.finish(task_id, client=ann)["result"] == "At last."
        until(lambda: start(ann), lambda answer: answer.status_code == 202)


def test_tasks_wait_until_the_model_may_be_asked_again(tmp_path: Path) -> None:
    provider = ScriptedProvider()
    settings = {"PERDURE_MODEL_RPM": "1", "OPENAI_BASE_URL": provider.server.base_url}

    def status(started: dict[str, Any]) -> dict[str, Any]:
        return httpx.get(started["statusQueryGetUri"]).json()

    def decided(started: dict[str, Any]) -> bool:
        found = status(started)
        return found["runtimeStatus"] == "Completed" or "waiting" in found["customStatus"]

    with (
        provider.server,
        provider.answering("Ask the model", lambda _: Answer("Asked.")),
        App(make_app_folder(tmp_path / "app"), settings) as app,
    ):
        started = [app.start("Ask the model") for _ in range(6)]
        for one in started:
            until(lambda one=one: decided(one), bool)
        # A new minute may begin in between, and let one more through.
        waiting = [one for one in started if status(one)["runtimeStatus"] == "Running"]
        assert len(waiting) >= 4
        assert len(provider.server.requests) in (1, 2)
        for one in waiting:
            assert app.client.get(f"/agent/task/{one['task_id']}").status_code == 202
