"""Management URLs: the built-in ones for admins, ours with the same keys and answers for owners."""

import threading
from typing import Any

import httpx
import pytest

from tests.api.test_http import problem
from tests.api.test_task_loop import call
from tests.app import App, ScriptedProvider, until
from tests.openai_server import Answer, Slow

MISSING = "0" * 32
DEEP = b"[" * 100_000


@pytest.fixture(scope="module")
def owner(running: App) -> httpx.Client:
    return running.client_for(running.make_key("owner", "task:run", "task:read", "memory:write"))


@pytest.fixture(scope="module")
def stranger(running: App) -> httpx.Client:
    return running.client_for(running.make_key("stranger", "task:run", "task:read", "memory:write"))


def start(client: httpx.Client, query: str) -> dict[str, Any]:
    response = client.post("/agent/task", json={"query": query, "agent": "faulty"})
    assert response.status_code == 202, response.text
    assert response.headers["Location"] == response.json()["statusQueryGetUri"]
    return response.json()


def ended(client: httpx.Client, started: dict[str, Any]) -> httpx.Response:
    return until(lambda: client.get(started["statusQueryGetUri"]), lambda response: response.status_code != 202)


def test_an_owner_gets_the_keys_of_the_built_in_payload_at_urls_without_a_key(
    app: App, provider: ScriptedProvider, owner: httpx.Client
) -> None:
    with provider.answering("whose urls", lambda _: Answer("Mine.")):
        built_in, own = app.start("whose urls"), start(owner, "whose urls")
        ended(owner, own)
        app.finish(built_in["task_id"])
    assert set(own) == set(built_in)
    urls = [url for url in own.values() if url.startswith("http")]
    assert len(urls) == 8
    assert all(url.startswith(f"{app.host.url}/api/agent/task/{own['task_id']}/") for url in urls)
    assert not any("code=" in url for url in urls)


def test_the_status_is_the_built_in_one_to_the_letter(
    app: App, provider: ScriptedProvider, owner: httpx.Client
) -> None:
    started = start(owner, provider.plan("Compare the status", [Answer("Same.")]))
    assert ended(owner, started).json()["runtimeStatus"] == "Completed"
    with provider.answering("What is 1 + 1?", lambda _: Answer("2")):
        built_in = app.start_urls(started["task_id"])["statusQueryGetUri"]
    for wanted in ({}, {"showHistory": "true", "showHistoryOutput": "true"}, {"showInput": "false"}):
        theirs = httpx.get(built_in, params={**httpx.URL(built_in).params, **wanted})
        mine = owner.get(started["statusQueryGetUri"], params=wanted)
        assert (mine.status_code, mine.json()) == (theirs.status_code, theirs.json())
        assert mine.status_code == 200
    assert "historyEvents" in owner.get(started["statusQueryGetUri"], params={"showHistory": "true"}).json()


def test_a_running_task_is_202_and_points_to_our_url(provider: ScriptedProvider, owner: httpx.Client) -> None:
    asked = threading.Event()

    def slow(_: dict[str, Any]) -> Slow:
        asked.set()
        return Slow(0.5, Answer("Done."))

    started = start(owner, provider.plan("Still running", [slow]))
    assert asked.wait(30)
    running = owner.get(started["statusQueryGetUri"])
    assert (running.status_code, running.headers["Location"]) == (202, started["statusQueryGetUri"])
    assert ended(owner, started).status_code == 200


def test_an_owner_suspends_resumes_and_terminates_a_task(provider: ScriptedProvider, owner: httpx.Client) -> None:
    started = start(owner, provider.plan("Manage me", [Answer(calls=(call("nap", seconds=30.0),))]))
    until(lambda: owner.get(f"/agent/task/{started['task_id']}").json()["tool_calls"], bool)

    def state() -> str:
        return owner.get(started["statusQueryGetUri"]).json()["runtimeStatus"]

    assert owner.post(started["suspendPostUri"].format(text="wait")).status_code == 202
    until(state, lambda status: status == "Suspended")
    assert owner.post(started["resumePostUri"].format(text="on")).status_code == 202
    until(state, lambda status: status == "Running")
    event = owner.post(started["sendEventPostUri"].format(eventName="hello%20you"), json={"any": "thing"})
    assert (event.status_code, event.content) == (202, b"")
    assert owner.post(started["terminatePostUri"].format(text="enough & more")).status_code == 202
    task = owner.get(f"/agent/task/{started['task_id']}").json()
    assert (task["status"], task["reason"]) == ("cancelled", "terminated")
    until(state, lambda status: status == "Terminated")
    assert owner.post(started["terminatePostUri"].format(text="again")).status_code == 410
    assert owner.delete(started["purgeHistoryDeleteUri"]).json() == {"instancesDeleted": 1}
    problem(owner.get(started["statusQueryGetUri"]), 404)


@pytest.mark.parametrize("name", [".", ".."])
def test_the_name_of_an_event_does_not_lead_to_another_built_in_url(
    app: App, provider: ScriptedProvider, owner: httpx.Client, name: str
) -> None:
    started = start(owner, provider.plan(f"Send me {name}", [Answer("No.")]))
    ended(owner, started)
    url = f"{app.host.url}/api/agent/task/{started['task_id']}/raiseEvent/{name.replace('.', '%2E')}"
    assert f"'{name}'" in problem(owner.post(url, json={}), 404)["detail"]


def test_what_is_no_json_is_the_built_in_urls_to_refuse(provider: ScriptedProvider, owner: httpx.Client) -> None:
    asked, release = threading.Event(), threading.Event()

    def held(_: dict[str, Any]) -> Answer:
        asked.set()
        assert release.wait(30)
        return Answer("Done.")

    started = start(owner, provider.plan("Send me something odd", [held]))
    assert asked.wait(30)
    url = started["sendEventPostUri"].format(eventName="hello")
    for kind, content in ("é".encode("latin-1"), b"{}"), *((b"application/json", odd) for odd in (b"{", b"\xff", DEEP)):
        answer = owner.post(url, content=content, headers={"Content-Type": kind})
        assert (answer.status_code, "JSON" in answer.text or "json" in answer.text) == (400, True)
    release.set()
    ended(owner, started)


def test_nothing_is_run_twice(provider: ScriptedProvider, owner: httpx.Client) -> None:
    started = start(owner, provider.plan("Run me once", [Answer("Once.")]))
    ended(owner, started)
    problem(owner.post(started["restartPostUri"]), 409)
    problem(owner.post(started["rewindPostUri"].format(text="x")), 409)


def test_an_operation_of_somebody_else_is_as_missing(
    provider: ScriptedProvider, owner: httpx.Client, stranger: httpx.Client
) -> None:
    started = start(owner, provider.plan("Not yours", [Answer("Mine.")]))
    ended(owner, started)
    for name, url in started.items():
        if url.startswith("http"):
            method = {"statusQueryGetUri": "GET", "purgeHistoryDeleteUri": "DELETE"}.get(name, "POST")
            address = url.format(text="x", eventName="cancel")
            theirs = problem(stranger.request(method, address, json={}), 404)
            missing = problem(stranger.request(method, address.replace(started["task_id"], MISSING), json={}), 404)
            assert theirs["detail"].replace(started["task_id"], MISSING) == missing["detail"]


def test_an_ingestion_is_followed_by_its_owner_alone(owner: httpx.Client, stranger: httpx.Client) -> None:
    loaded = owner.post("/memory/documents", json={"title": "Leave", "text": "Thirty days of leave."}).json()
    assert ended(owner, loaded).json()["output"]["status"] == "completed"
    theirs = problem(stranger.get(loaded["statusQueryGetUri"]), 404)
    nobodys = f"ingestion-{MISSING}"
    missing = problem(owner.get(loaded["statusQueryGetUri"].replace(loaded["ingestion_id"], nobodys)), 404)
    assert theirs["detail"].replace(loaded["ingestion_id"], nobodys) == missing["detail"]


def test_a_task_is_no_ingestion(provider: ScriptedProvider, owner: httpx.Client) -> None:
    started = start(owner, provider.plan("I am a task", [Answer("Yes.")]))
    problem(owner.get(f"/memory/ingestions/{started['task_id']}/status"), 404)
    ended(owner, started)
