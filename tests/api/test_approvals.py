"""Tool calls that a person must agree to, over HTTP."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from perdure.documents.containers import OUTBOX, TASKS
from perdure.documents.port import Stored
from perdure.documents.sqlite import SqliteDocuments
from tests.app import App, ScriptedProvider
from tests.devhost_process import until
from tests.openai_server import Answer, Call

DANGEROUS = Answer(calls=(Call("dangerous", "{}"),))


def waiting_calls(client: httpx.Client, task_id: str) -> list[dict[str, Any]]:
    found = client.get("/approvals", params={"limit": 100}).raise_for_status().json()["approvals"]
    return [approval for approval in found if approval["task_id"] == task_id]


def wait_for_call(client: httpx.Client, task_id: str) -> dict[str, Any]:
    """The one call of a task that waits for approval."""
    [approval] = until(lambda: waiting_calls(client, task_id), bool)
    return approval


def answer_question(client: httpx.Client, approval: dict[str, Any], **said: str) -> httpx.Response:
    path = f"/agent/task/{approval['task_id']}/approvals/{approval['approval_id']}"
    return client.post(path, json=said)


def decide(client: httpx.Client, approval: dict[str, Any], decision: str, comment: str = "") -> httpx.Response:
    return answer_question(client, approval, decision=decision, comment=comment)


def told(provider: ScriptedProvider, query: str, first: Answer) -> tuple[str, list[str]]:
    """Plan a task that asks for something and then answers; returns what its second step is told of it."""
    results: list[str] = []

    def answer(asked: dict[str, Any]) -> Answer:
        results.extend(message["content"] for message in asked["messages"] if message["role"] == "tool")
        return Answer("Well.")

    return provider.plan(query, [first, answer]), results


def change_call(app: App, task_id: str, **fields: Any) -> None:
    """Change the stored entry of a task's first call behind the app's back."""

    async def change() -> None:
        documents = SqliteDocuments(str(app.folder / ".perdure" / "state.db"))
        partition = ("default", task_id)
        found = await documents.read(TASKS, partition, "call-00001-00000")
        assert found
        await documents.replace(TASKS, partition, found.body | fields, found.etag)
        await documents.close()

    asyncio.run(change())


def outbox(app: App, user: str = "developer") -> dict[str, Any]:
    """Messages that wait to be sent, by their tasks."""

    async def read() -> list[Stored]:
        documents = SqliteDocuments(str(app.folder / ".perdure" / "state.db"))
        page = await documents.page(OUTBOX, ("default", user))
        await documents.close()
        return page.items

    return {stored.body["task"]: stored.body["message"] for stored in asyncio.run(read())}


def test_a_call_that_was_approved_is_run_and_not_before(app: App, provider: ScriptedProvider) -> None:
    query, results = told(provider, "Something dangerous", DANGEROUS)
    task_id = app.start(query, agent="faulty")["task_id"]
    approval = wait_for_call(app.client, task_id)
    assert (approval["tool"], approval["input"], approval["agent"], approval["user"], approval["state"]) == (
        "dangerous", "{}", "faulty", "developer", "pending",
    )  # fmt: skip
    assert (approval["kind"], approval["call_id"], approval["approval_id"]) == ("approval", "1-0", "1-0")
    time_left = datetime.fromisoformat(approval["expires_at"]) - datetime.fromisoformat(approval["asked_at"])
    assert time_left.total_seconds() == 24 * 3600
    task = app.client.get(f"/agent/task/{task_id}").json()
    assert [(call["call_id"], call["state"]) for call in task["tool_calls"]] == [("1-0", "awaiting_approval")]
    decided = decide(app.client, approval, "approve", "Go on.").raise_for_status().json()
    assert (decided["state"], decided["decided_by"], decided["comment"]) == ("approved", "developer", "Go on.")
    assert app.finish(task_id)["result"] == "Well."
    assert results == ["done without asking"]
    assert not waiting_calls(app.client, task_id)


def test_a_call_that_was_rejected_is_not_run_and_the_model_reads_why(app: App, provider: ScriptedProvider) -> None:
    query, results = told(provider, "Something dangerous, on a Sunday", DANGEROUS)
    task_id = app.start(query, agent="faulty")["task_id"]
    assert decide(app.client, wait_for_call(app.client, task_id), "reject", "Not on Sundays.").is_success
    task = app.finish(task_id)
    assert (task["status"], [call["state"] for call in task["tool_calls"]]) == ("completed", ["failed"])
    assert results == ["Error: A person decided against this call, so it was not run. Their comment: Not on Sundays."]


def test_a_call_that_nobody_decides_on_expires_and_a_late_decision_is_refused(
    app: App, provider: ScriptedProvider
) -> None:
    query, results = told(provider, "Something dangerous, quickly", DANGEROUS)
    task_id = app.start(query, agent="impatient")["task_id"]
    approval = wait_for_call(app.client, task_id)
    assert app.finish(task_id)["result"] == "Well."
    assert results == ["Error: Nobody approved this call in time, so it was not run."]
    late = decide(app.client, approval, "approve")
    assert (late.status_code, late.json()["detail"]) == (409, "Nobody decided in time: the approval has expired.")


@pytest.mark.parametrize("second", ["approve", "reject"])
def test_a_second_decision_is_refused_whatever_it_is(app: App, provider: ScriptedProvider, second: str) -> None:
    query, _ = told(provider, f"Something dangerous, then {second}", DANGEROUS)
    task_id = app.start(query, agent="faulty")["task_id"]
    approval = wait_for_call(app.client, task_id)
    assert decide(app.client, approval, "approve").status_code == 200
    again = decide(app.client, approval, second)
    assert again.status_code == 409
    assert "approved already" in again.json()["detail"]
    app.finish(task_id)


def test_of_many_decisions_at_once_one_counts(app: App, provider: ScriptedProvider) -> None:
    query, results = told(provider, "Something dangerous for a committee", DANGEROUS)
    task_id = app.start(query, agent="faulty")["task_id"]
    approval = wait_for_call(app.client, task_id)
    barrier = threading.Barrier(16)

    def vote(number: int) -> tuple[int, str]:
        barrier.wait()
        decision = "approve" if number % 2 else "reject"
        return decide(app.client, approval, decision).status_code, decision

    with ThreadPoolExecutor(16) as pool:
        votes = list(pool.map(vote, range(16)))
    [(_, counted)] = [vote for vote in votes if vote[0] == 200]
    assert {status for status, _ in votes} == {200, 409}
    app.finish(task_id)
    assert ("done without asking" in results) == (counted == "approve")


def test_a_policy_of_the_agent_asks_for_some_calls_and_the_others_wait_for_nobody(
    app: App, provider: ScriptedProvider, tmp_path: Path
) -> None:
    moves = [{"amount": amount, "folder": str(tmp_path)} for amount in (100, 101)]
    calls = tuple(Call("transfer", json.dumps(move), f"call_{n}") for n, move in enumerate(moves))
    query, results = told(provider, "Move some money", Answer(calls=calls))
    task_id = app.start(query, agent="faulty")["task_id"]
    approval = wait_for_call(app.client, task_id)
    assert json.loads(approval["input"])["amount"] == 101
    until(lambda: [file.read_text() for file in tmp_path.iterdir()], lambda written: written == ["100 "])
    assert decide(app.client, approval, "approve").is_success
    app.finish(task_id)
    assert results == ["moved 100", "moved 101"]
    assert sorted(file.read_text() for file in tmp_path.iterdir()) == ["100 ", "101 "]


def test_what_was_changed_after_it_was_approved_is_not_run(
    app: App, provider: ScriptedProvider, tmp_path: Path
) -> None:
    """Somebody who can write to the store changes the call while the approval is on its way."""
    move = {"amount": 500, "folder": str(tmp_path), "note": "rent"}
    query, results = told(provider, "Pay the rent", Answer(calls=(Call("transfer", json.dumps(move)),)))
    task_id = app.start(query, agent="faulty")["task_id"]
    approval = wait_for_call(app.client, task_id)
    change_call(app, task_id, arguments=json.dumps({**move, "amount": 50_000}))
    assert decide(app.client, approval, "approve").is_success
    app.finish(task_id)
    assert results == ["Error: This call was not approved as it stands, so it was not run."]
    assert list(tmp_path.iterdir()) == []


def test_a_call_that_is_made_to_look_ready_is_still_not_run_without_approval(
    app: App, provider: ScriptedProvider, tmp_path: Path
) -> None:
    move = {"amount": 500, "folder": str(tmp_path)}
    query, results = told(provider, "Pay somebody", Answer(calls=(Call("transfer", json.dumps(move)),)))
    task_id = app.start(query, agent="faulty")["task_id"]
    approval = wait_for_call(app.client, task_id)
    change_call(app, task_id, state="prepared")
    assert decide(app.client, approval, "reject").is_success
    app.finish(task_id)
    assert results == ["Error: A person decided against this call, so it was not run."]
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_was_cancelled_waits_for_nobody(app: App, provider: ScriptedProvider) -> None:
    query = provider.plan("Something dangerous, or not", [DANGEROUS])
    task_id = app.start(query, agent="faulty")["task_id"]
    approval = wait_for_call(app.client, task_id)
    assert app.client.post(f"/agent/task/{task_id}/cancel").is_success
    assert not waiting_calls(app.client, task_id)
    late = decide(app.client, approval, "approve")
    assert late.status_code == 409
    assert "withdrawn" in late.json()["detail"]


def test_users_see_and_decide_on_their_own_calls_and_administrators_on_all_of_their_tenant(
    app: App, provider: ScriptedProvider
) -> None:
    query, _ = told(provider, "Something dangerous of Ann's", DANGEROUS)
    ann = app.client_for(app.make_key("ann", "task:run", "task:read", "approve"))
    bob = app.client_for(app.make_key("bob", "task:run", "task:read", "approve"))
    foreign = app.client_for(app.make_key("ann", tenant="elsewhere"))
    task_id = ann.post("/agent/task", json={"query": query, "agent": "faulty"}).json()["task_id"]
    approval = wait_for_call(ann, task_id)
    for other in (bob, foreign):
        assert waiting_calls(other, task_id) == []
        assert decide(other, approval, "approve").status_code == 404
    assert [one["user"] for one in waiting_calls(app.client, task_id)] == ["ann"]
    assert decide(app.client, approval, "reject").json()["decided_by"] == "developer"
    app.finish(task_id, client=ann)


@pytest.mark.parametrize("id", ["1-1", "2-0", "1-00", "0-0", "1", "x", "1-0-0", "1-0-1", "99999999-1"])
def test_what_nobody_is_asked_cannot_be_decided_on(app: App, provider: ScriptedProvider, id: str) -> None:
    query = provider.plan(f"Nothing dangerous about {id}", [Answer("Fine.")])
    task = app.run(query)
    response = decide(app.client, {"task_id": task["task_id"], "approval_id": id}, "approve")
    assert response.status_code == 404
    assert "GET /api/approvals lists what waits" in response.json()["detail"]


def test_a_stream_tells_of_the_question_and_of_the_decision(app: App, provider: ScriptedProvider) -> None:
    query, _ = told(provider, "Something dangerous to watch", DANGEROUS)
    task_id = app.start(query, agent="faulty")["task_id"]
    decide(app.client, wait_for_call(app.client, task_id), "approve").raise_for_status()
    app.finish(task_id)
    feed = app.client.get(f"/agent/task/{task_id}/events", headers={"Accept": "application/json"}).json()
    states = [event["data"]["state"] for event in feed["events"] if event["event"] == "approval"]
    assert states[-1:] == ["approved"]


def test_an_email_reaches_the_outbox_once_a_person_has_seen_it(app: App, provider: ScriptedProvider) -> None:
    email = {"to": ["ann@example.com"], "subject": "Lunch", "body": "At noon?"}
    query, results = told(provider, "Invite Ann", Answer(calls=(Call("send_email", json.dumps(email)),)))
    task_id = app.start(query, agent="faulty")["task_id"]
    approval = wait_for_call(app.client, task_id)
    assert json.loads(approval["input"]) == email
    assert task_id not in outbox(app)
    decide(app.client, approval, "approve").raise_for_status()
    app.finish(task_id)
    assert results == ["The e-mail to ann@example.com is in the outbox, to be sent."]
    assert outbox(app)[task_id] == email
