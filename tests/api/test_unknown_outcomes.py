"""Tool calls whose outcome nobody knows, and what people say became of them, over HTTP."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.test_approvals import answer_question, change_call, decide, told, wait_for_call, waiting_calls
from tests.api.test_task_loop import call
from tests.app import App, ScriptedProvider
from tests.devhost_process import until
from tests.openai_server import Answer

pytestmark = pytest.mark.usefixtures("rested_tools")

UNKNOWN = "may or may not have taken effect"


def unsure(sent: Path, number: int = 0) -> Answer:
    """Ask for a call that takes effect and does not say so; run again, it does."""
    return Answer(calls=(call("send_once", number, sent=str(sent)),))


def keys(sent: Path) -> list[str]:
    """The idempotency key of each effect."""
    return sent.read_text().splitlines()


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    return tmp_path / "sent"


def states(client: httpx.Client, task_id: str) -> list[str]:
    return [call["state"] for call in client.get(f"/agent/task/{task_id}").json()["tool_calls"]]


def test_a_call_whose_outcome_is_unknown_is_not_run_again_and_waits_for_a_person(
    app: App, provider: ScriptedProvider, sent: Path
) -> None:
    query, results = told(provider, f"Send {sent}", unsure(sent))
    task_id = app.start(query, agent="faulty")["task_id"]
    question = wait_for_call(app.client, task_id)
    assert (question["kind"], question["tool"], question["state"]) == ("unknown_outcome", "send_once", "pending")
    assert (question["call_id"], question["approval_id"]) == ("1-0", "1-0-1")
    assert states(app.client, task_id) == ["unknown"]
    assert (len(keys(sent)), results) == (1, [])
    answered = answer_question(app.client, question, resolve="failed", comment="The post office lost it.")
    assert (answered.status_code, answered.json()["state"], answered.json()["decided_by"]) == (
        200, "failed", "developer",
    )  # fmt: skip
    task = app.finish(task_id)
    assert [entry["state"] for entry in task["tool_calls"]] == ["failed"]
    assert results == [
        "Error: Nobody saw the end of this call; a person found that it did not take effect. "
        "Their comment: The post office lost it."
    ]
    assert len(keys(sent)) == 1
    assert not waiting_calls(app.client, task_id)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (
            {"comment": "It arrived."},
            "Nobody saw the end of this call; a person found that it took effect. Its result is not known. "
            "Their comment: It arrived.",
        ),
        ({"result": "sent as number 7", "comment": "It arrived."}, "sent as number 7"),
        ({"result": ""}, ""),
    ],
)
def test_a_call_that_took_effect_is_committed_with_the_result_that_the_person_knows(
    app: App, provider: ScriptedProvider, sent: Path, said: dict[str, str], read: str
) -> None:
    query, results = told(provider, f"Send {sent}", unsure(sent))
    task_id = app.start(query, agent="faulty")["task_id"]
    assert answer_question(app.client, wait_for_call(app.client, task_id), resolve="committed", **said).is_success
    task = app.finish(task_id)
    assert [entry["state"] for entry in task["tool_calls"]] == ["committed"]
    assert results == [read]
    assert len(keys(sent)) == 1


def test_a_call_that_is_tried_again_runs_under_the_same_key(app: App, provider: ScriptedProvider, sent: Path) -> None:
    query, results = told(provider, f"Send {sent}", unsure(sent))
    task_id = app.start(query, agent="faulty")["task_id"]
    assert answer_question(app.client, wait_for_call(app.client, task_id), resolve="retry").is_success
    task = app.finish(task_id)
    assert [entry["state"] for entry in task["tool_calls"]] == ["committed"]
    assert results == ["sent"]
    first, second = keys(sent)
    assert first == second


def test_a_tool_that_must_not_run_twice_and_hangs_leaves_its_outcome_unknown(
    app: App, provider: ScriptedProvider, sent: Path
) -> None:
    query, _ = told(provider, f"Send {sent}", Answer(calls=(call("send_and_hang", sent=str(sent)),)))
    task_id = app.start(query, agent="faulty")["task_id"]
    question = wait_for_call(app.client, task_id)
    assert (question["kind"], sent.exists()) == ("unknown_outcome", True)
    assert answer_question(app.client, question, resolve="committed").is_success
    app.finish(task_id)


def test_a_call_that_is_tried_again_in_vain_is_asked_about_anew_and_the_old_answer_counts_no_more(
    app: App, provider: ScriptedProvider, sent: Path
) -> None:
    query, _ = told(provider, f"Send {sent}", Answer(calls=(call("send_and_hang", sent=str(sent)),)))
    task_id = app.start(query, agent="faulty")["task_id"]
    first = wait_for_call(app.client, task_id)
    assert answer_question(app.client, first, resolve="retry").is_success
    second = until(
        lambda: waiting_calls(app.client, task_id), lambda asked: [one["approval_id"] for one in asked] == ["1-0-2"]
    )[0]
    again = answer_question(app.client, first, resolve="retry")
    assert (again.status_code, "retry already" in again.json()["detail"]) == (409, True)
    assert answer_question(app.client, second, resolve="failed").is_success
    assert [entry["state"] for entry in app.finish(task_id)["tool_calls"]] == ["failed"]


def test_when_nobody_decides_the_model_is_told_that_the_outcome_is_unknown_and_a_late_answer_is_refused(
    app: App, provider: ScriptedProvider, sent: Path
) -> None:
    query, results = told(provider, f"Send {sent}", Answer(calls=(call("send_and_hang", sent=str(sent)),)))
    task_id = app.start(query, agent="impatient")["task_id"]
    question = wait_for_call(app.client, task_id)
    task = app.finish(task_id)
    assert (task["status"], [entry["state"] for entry in task["tool_calls"]]) == ("completed", ["unknown"])
    assert [UNKNOWN in result for result in results] == [True]
    late = answer_question(app.client, question, resolve="retry")
    assert (late.status_code, "Nobody decided in time" in late.json()["detail"]) == (409, True)


def test_of_many_answers_at_once_one_counts(app: App, provider: ScriptedProvider, sent: Path) -> None:
    query, results = told(provider, f"Send {sent}", unsure(sent))
    task_id = app.start(query, agent="faulty")["task_id"]
    question = wait_for_call(app.client, task_id)
    barrier = threading.Barrier(12)

    def vote(number: int) -> tuple[int, str]:
        barrier.wait()
        resolve = ("committed", "failed", "retry")[number % 3]
        return answer_question(app.client, question, resolve=resolve).status_code, resolve

    with ThreadPoolExecutor(12) as pool:
        votes = list(pool.map(vote, range(12)))
    [counted] = [resolve for status, resolve in votes if status == 200]
    assert {status for status, _ in votes} == {200, 409}
    app.finish(task_id)
    assert len(keys(sent)) == (2 if counted == "retry" else 1)
    assert ("took effect" in results[0], "did not take effect" in results[0], results[0] == "sent") == (
        counted == "committed", counted == "failed", counted == "retry",
    )  # fmt: skip


def test_each_kind_of_question_takes_its_own_answer(app: App, provider: ScriptedProvider, sent: Path) -> None:
    both = Answer(calls=(call("send_once", 0, sent=str(sent)), call("dangerous", 1)))
    query, results = told(provider, f"Send {sent}, and something dangerous", both)
    task_id = app.start(query, agent="faulty")["task_id"]
    waiting = until(lambda: waiting_calls(app.client, task_id), lambda asked: len(asked) == 2)
    asked = {one["kind"]: one for one in waiting}
    for refused, takes in (
        (decide(app.client, asked["unknown_outcome"], "approve"), "'resolve'"),
        (answer_question(app.client, asked["approval"], resolve="committed"), "'decision'"),
    ):
        assert (refused.status_code, takes in refused.json()["detail"]) == (409, True)
    assert answer_question(app.client, asked["unknown_outcome"], resolve="committed", result="sent").is_success
    assert decide(app.client, asked["approval"], "approve").is_success
    app.finish(task_id)
    assert results == ["sent", "done without asking"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"resolve": "perhaps"}, "/resolve"),
        ({"resolve": "failed", "result": "x"}, "/result"),
        ({"resolve": "retry", "decision": "approve"}, "/decision"),
        ({"resolve": "committed", "result": 1}, "/result"),
        ({}, "/decision"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused_with_the_place(app: App, body: Any, pointer: str) -> None:
    response = app.client.post("/agent/task/0123456789abcdef0123456789abcdef/approvals/1-0-1", json=body)
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


def test_a_task_that_was_cancelled_asks_nobody_any_more(app: App, provider: ScriptedProvider, sent: Path) -> None:
    query = provider.plan(f"Send {sent}, or not", [unsure(sent)])
    task_id = app.start(query, agent="faulty")["task_id"]
    question = wait_for_call(app.client, task_id)
    assert app.client.post(f"/agent/task/{task_id}/cancel").is_success
    assert not waiting_calls(app.client, task_id)
    late = answer_question(app.client, question, resolve="retry")
    assert (late.status_code, "withdrawn" in late.json()["detail"]) == (409, True)


def test_users_answer_for_their_own_tasks_and_administrators_for_all_of_their_tenant(
    app: App, provider: ScriptedProvider, sent: Path
) -> None:
    query, _ = told(provider, f"Send {sent} for Cleo", unsure(sent))
    cleo = app.client_for(app.make_key("cleo", "task:run", "task:read", "approve"))
    runner = app.client_for(app.make_key("cleo", "task:run", "task:read"))
    dan = app.client_for(app.make_key("dan", "task:run", "task:read", "approve"))
    task_id = cleo.post("/agent/task", json={"query": query, "agent": "faulty"}).json()["task_id"]
    question = wait_for_call(cleo, task_id)
    assert waiting_calls(dan, task_id) == []
    assert answer_question(dan, question, resolve="retry").status_code == 404
    assert answer_question(runner, question, resolve="retry").status_code == 403
    assert [one["user"] for one in waiting_calls(app.client, task_id)] == ["cleo"]
    assert answer_question(app.client, question, resolve="failed").json()["decided_by"] == "developer"
    app.finish(task_id, client=cleo)


def test_what_was_changed_since_the_person_saw_it_is_not_run_again(
    app: App, provider: ScriptedProvider, sent: Path
) -> None:
    query, results = told(provider, f"Send {sent} unchanged", unsure(sent))
    task_id = app.start(query, agent="faulty")["task_id"]
    question = wait_for_call(app.client, task_id)
    change_call(app, task_id, arguments=f'{{"sent": "{sent}-elsewhere"}}')
    assert answer_question(app.client, question, resolve="retry").is_success
    app.finish(task_id)
    assert results == ["Error: This call was not approved as it stands, so it was not run."]
    assert [path.name for path in sent.parent.iterdir()] == ["sent"]


def test_a_stream_tells_of_the_question_and_of_the_answer(app: App, provider: ScriptedProvider, sent: Path) -> None:
    query, _ = told(provider, f"Send {sent} to watch", unsure(sent))
    task_id = app.start(query, agent="faulty")["task_id"]
    answer_question(app.client, wait_for_call(app.client, task_id), resolve="failed").raise_for_status()
    app.finish(task_id)
    feed = app.client.get(f"/agent/task/{task_id}/events", headers={"Accept": "application/json"}).json()
    told_of = [event["data"] for event in feed["events"] if event["event"] == "approval"]
    assert (told_of[-1]["kind"], told_of[-1]["state"]) == ("unknown_outcome", "failed")
