"""Starting a task once, and waiting for its end."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.test_http import problem
from tests.api.test_task_loop import call
from tests.app import App, ScriptedProvider, until
from tests.openai_server import Answer


def post(app: App, key: str, query: str, client: httpx.Client | None = None, **fields: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    return (client or app.client).post("/agent/task", json={"query": query, **fields}, headers=headers)


def tasks_of(app: App, query: str) -> list[str]:
    tasks = app.client.get("/agent/task?limit=100").json()["tasks"]
    return [task["task_id"] for task in tasks if task["query"] == query]


def test_two_hundred_identical_starts_at_once_are_one_task(app: App, provider: ScriptedProvider) -> None:
    query = provider.plan("Start me once", [Answer("Once.")])
    # One connection each.
    limits, key = httpx.Limits(max_connections=None), app.client.headers["X-API-Key"]
    with (
        httpx.Client(base_url=app.client.base_url, headers={"X-API-Key": key}, limits=limits, timeout=60) as client,
        ThreadPoolExecutor(200) as pool,
    ):
        answers = list(pool.map(lambda _: post(app, '"the-key"', query, client), range(200)))
    assert {answer.status_code for answer in answers} == {202}
    [task_id] = {answer.json()["task_id"] for answer in answers}
    assert len({answer.json()["statusQueryGetUri"] for answer in answers}) == 1
    assert app.finish(task_id)["result"] == "Once."
    assert tasks_of(app, query) == [task_id]
    # Also after the task has ended, and with the bare form of the key.
    assert post(app, "the-key", query).json()["task_id"] == task_id


def test_a_key_used_for_another_request_is_refused(app: App, provider: ScriptedProvider) -> None:
    first = post(app, "one-key", provider.plan("First use", [Answer("One.")]))
    said = problem(post(app, "one-key", "Second use"), 422)
    assert "another request" in said["detail"]
    problem(post(app, "one-key", "First use", metadata={"a": "b"}), 422)
    app.finish(first.json()["task_id"])
    assert tasks_of(app, "Second use") == []


def test_another_users_key_is_another_key(app: App, provider: ScriptedProvider) -> None:
    other = app.client_for(app.make_key("somebody-else"))
    with provider.answering("Shared words", lambda _: Answer("Yours.")):
        mine, theirs = post(app, "same", "Shared words"), post(app, "same", "Shared words", other)
        assert mine.json()["task_id"] != theirs.json()["task_id"]
        app.finish(mine.json()["task_id"])
        until(lambda: other.get(f"/agent/task/{theirs.json()['task_id']}"), lambda r: r.status_code == 200)


def test_a_refused_start_may_be_sent_again_with_its_key(app: App, provider: ScriptedProvider) -> None:
    waiting = provider.plan("Hold it", [Answer(calls=(call("nap", seconds=30.0),))])
    holder = app.start(waiting, thread_id="keyed", agent="faulty")
    path = f"/agent/task/{holder['task_id']}"
    until(lambda: app.client.get(path).json()["tool_calls"], bool)
    problem(post(app, "again", "After you", thread_id="keyed"), 409)
    app.client.post(f"{path}/cancel").raise_for_status()
    until(lambda: app.client.get("/agent/threads/keyed").json()["busy"], lambda busy: busy is None)
    started = post(app, "again", provider.plan("After you", [Answer("Thanks.")]), thread_id="keyed")
    assert app.finish(started.json()["task_id"])["result"] == "Thanks."


@pytest.mark.parametrize("key", ["", '""', '"a', "a b", "ä".encode(), '"' + "x" * 256 + '"', "x" * 256])
def test_a_key_that_is_none_is_refused(app: App, key: str | bytes) -> None:
    problem(app.client.post("/agent/task", json={"query": "x"}, headers={"Idempotency-Key": key}), 400)


def test_a_look_at_a_task_waits_for_its_end(app: App, provider: ScriptedProvider) -> None:
    asked, release = threading.Event(), threading.Event()

    def held(_: dict[str, Any]) -> Answer:
        asked.set()
        assert release.wait(30)
        return Answer("At last.")

    started = app.start(provider.plan("Wait for me", [held]))
    path = f"/agent/task/{started['task_id']}"
    assert asked.wait(30)
    begun = time.monotonic()
    assert app.client.get(f"{path}?wait=1").status_code == 202
    assert time.monotonic() - begun >= 1
    with ThreadPoolExecutor(50) as pool:
        waiting = [pool.submit(app.client.get, f"{path}?wait=30") for _ in range(50)]
        begun = time.monotonic()
        # Others are served meanwhile.
        assert app.client.get("/agents").status_code == 200
        assert time.monotonic() - begun < 10
        release.set()
        assert {answer.result().json()["result"] for answer in waiting} == {"At last."}
    assert time.monotonic() - begun < 25


def test_a_task_that_has_ended_is_not_waited_for(app: App, provider: ScriptedProvider) -> None:
    task = app.run(provider.plan("Be quick", [Answer("Quick.")]))
    begun = time.monotonic()
    assert app.client.get(f"/agent/task/{task['task_id']}?wait=60").status_code == 200
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("wait", ["-1", "61", "x", "1.5"])
def test_a_wait_that_is_none_is_refused(app: App, wait: str) -> None:
    problem(app.client.get(f"/agent/task/{'0' * 32}?wait={wait}"), 422)
