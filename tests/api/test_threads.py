"""Conversations: one writer at a time, every turn whole and in order, a bounded view for the model."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.test_http import problem
from tests.api.test_task_loop import call
from tests.app import App, ScriptedProvider, until
from tests.openai_server import Answer, Failure, Slow


def contents(asked: dict[str, Any]) -> list[str]:
    return [message["content"] for message in asked["messages"]]


def thread(app: App, thread_id: str, **params: Any) -> dict[str, Any]:
    response = app.client.get(f"/agent/threads/{thread_id}", params=params)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_task_in_a_thread_sees_what_was_said_before(app: App, provider: ScriptedProvider) -> None:
    app.run(provider.plan("My name is Ada.", [Answer("Hello Ada.")]), thread_id="names", agent="faulty")
    seen: list[list[str]] = []

    def answer(asked: dict[str, Any]) -> Answer:
        seen.append(contents(asked))
        return Answer("Ada.")

    # Scripts are found by the first message of the user, which is the first turn's.
    provider.plan("My name is Ada.", [answer])
    task = app.run("What is my name?", thread_id="names", agent="faulty")
    assert (task["result"], task["thread_id"]) == ("Ada.", "names")
    assert seen[0][1:] == ["My name is Ada.", "Hello Ada.", "What is my name?"]
    page = thread(app, "names")
    assert [(message["role"], message["content"]) for message in page["messages"]] == [
        ("user", "My name is Ada."), ("assistant", "Hello Ada."), ("user", "What is my name?"), ("assistant", "Ada."),
    ]  # fmt: skip
    assert (page["length"], page["busy"], page["continuation"]) == (4, None, None)


def test_a_turns_tool_calls_and_results_are_part_of_the_conversation(app: App, provider: ScriptedProvider) -> None:
    calls = (call("echo", 0, text="one"), call("echo", 1, text="two"))
    provider.plan("Echo twice", [Answer("I echo.", calls), Answer("Echoed.")])
    app.run("Echo twice", thread_id="echoes", agent="faulty")
    messages = thread(app, "echoes")["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [made["id"] for made in messages[1]["tool_calls"]] == [message["tool_call_id"] for message in messages[2:4]]
    assert [message["content"] for message in messages[2:4]] == ["one", "two"]


def test_a_busy_thread_refuses_a_second_task(app: App, provider: ScriptedProvider) -> None:
    query = provider.plan("Hold the thread", [Answer(calls=(call("nap", seconds=1.0),)), Answer("Done.")])
    first = app.start(query, thread_id="busy", agent="faulty")
    response = app.client.post("/agent/task", json={"query": "Me too", "thread_id": "busy"})
    assert first["task_id"] in problem(response, 409)["detail"]
    assert thread(app, "busy")["busy"] == first["task_id"]
    app.finish(first["task_id"])
    assert thread(app, "busy")["busy"] is None


def test_a_task_refused_by_a_busy_thread_was_never_there(app: App, provider: ScriptedProvider) -> None:
    waiting = provider.plan("Hold the thread", [Answer(calls=(call("nap", seconds=30.0),))])
    holder = app.start(waiting, thread_id="held", agent="faulty")
    refused = {"query": "Refused by the thread", "thread_id": "held"}
    problem(app.client.post("/agent/task", json=refused), 409)
    assert "Refused by the thread" not in [task["query"] for task in app.client.get("/agent/task").json()["tasks"]]
    path = f"/agent/task/{holder['task_id']}"
    until(lambda: app.client.get(path).json(), lambda view: bool(view["tool_calls"]))
    app.client.post(f"{path}/cancel").raise_for_status()


def test_a_queued_task_waits_and_then_sees_the_turn_before_it(app: App, provider: ScriptedProvider) -> None:
    provider.plan("First", [Answer(calls=(call("nap", seconds=0.5),)), Answer("One."), Answer("Two.")])
    first = app.start("First", thread_id="queue", agent="faulty")
    second = app.start("Second", thread_id="queue", agent="faulty", if_busy="queue")
    assert app.finish(second["task_id"])["result"] == "Two."
    assert app.finish(first["task_id"])["result"] == "One."
    texts = [m["content"] for m in thread(app, "queue")["messages"] if m["role"] != "tool" and m["content"]]
    assert texts == ["First", "One.", "Second", "Two."]


def test_a_task_without_an_answer_leaves_the_conversation_as_it_was(app: App, provider: ScriptedProvider) -> None:
    app.run(provider.plan("Good question", [Answer("Good answer.")]), thread_id="failing", agent="faulty")
    provider.plan("Good question", [Failure(400, "no")])
    assert app.run("Bad question", thread_id="failing", agent="faulty")["status"] == "failed"
    page = thread(app, "failing")
    assert ([message["content"] for message in page["messages"]], page["busy"]) == (
        ["Good question", "Good answer."],
        None,
    )


def test_a_cancelled_task_frees_its_thread_and_a_cancelled_waiting_one_its_place(
    app: App, provider: ScriptedProvider
) -> None:
    provider.plan("Hold", [Answer(calls=(call("nap", seconds=30.0),))])
    writer = app.start("Hold", thread_id="cancelled", agent="faulty")
    waiting = app.start("Wait", thread_id="cancelled", agent="faulty", if_busy="queue")
    until(lambda: app.client.get(f"/agent/task/{writer['task_id']}").json(), lambda task: bool(task["tool_calls"]))
    app.client.post(f"/agent/task/{waiting['task_id']}/cancel").raise_for_status()
    until(lambda: thread(app, "cancelled"), lambda page: page["waiting"] == 0)
    app.client.post(f"/agent/task/{writer['task_id']}/cancel").raise_for_status()
    until(lambda: thread(app, "cancelled"), lambda page: page["busy"] is None)


def test_a_terminated_task_does_not_keep_its_thread(app: App, provider: ScriptedProvider) -> None:
    provider.plan("Hold on", [Answer(calls=(call("nap", seconds=30.0),))])
    writer = app.start("Hold on", thread_id="terminated", agent="faulty")
    until(lambda: app.client.get(f"/agent/task/{writer['task_id']}").json(), lambda task: bool(task["tool_calls"]))
    httpx.post(writer["terminatePostUri"].replace("{text}", "x")).raise_for_status()
    assert app.finish(writer["task_id"])["reason"] == "terminated"
    assert thread(app, "terminated")["busy"] is None


@pytest.mark.parametrize("if_busy", ["reject", "queue"])
def test_fifty_tasks_on_one_thread_leave_every_turn_whole_and_in_order(
    app: App, provider: ScriptedProvider, if_busy: str
) -> None:
    """Scripts are found by the first user message: every query starts alike, so one function answers them all."""
    name = f"fifty-{if_busy}"

    def answer(asked: dict[str, Any]) -> Answer:
        last = asked["messages"][-1]
        if last["role"] == "user":
            return Answer("Calling.", (call("echo", 0, text=last["content"]),))
        return Answer(f"Answer to {last['content']}")

    def start(number: int) -> httpx.Response:
        body = {"query": f"{name} {number}", "thread_id": name, "if_busy": if_busy, "agent": "faulty"}
        return app.client.post("/agent/task", json=body, timeout=60)

    with provider.answering(name, answer), ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(start, range(50)))
        accepted = [response.json()["task_id"] for response in responses if response.status_code == 202]
        tasks = [app.finish(task_id, 90) for task_id in accepted]
    assert {response.status_code for response in responses} <= {202, 409}
    assert len(accepted) == 50 if if_busy == "queue" else len(accepted) >= 1
    assert {task["status"] for task in tasks} == {"completed"}
    messages: list[dict[str, Any]] = []
    start_at: dict[str, Any] = {}
    while True:
        page = thread(app, name, limit=200, **start_at)
        messages += page["messages"]
        if page["continuation"] is None:
            break
        start_at = {"continuation": page["continuation"]}
    assert [message["number"] for message in messages] == list(range(4 * len(accepted)))
    turns = [messages[at : at + 4] for at in range(0, len(messages), 4)]
    for turn in turns:
        assert [message["role"] for message in turn] == ["user", "assistant", "tool", "assistant"]
        assert len({message["task_id"] for message in turn}) == 1
        assert turn[3]["content"] == f"Answer to {turn[0]['content']}"
    assert {turn[0]["task_id"] for turn in turns} == set(accepted)


def test_a_long_conversation_is_cut_and_summarised_by_the_model(app: App, provider: ScriptedProvider) -> None:
    seen: list[list[str]] = []

    def answer(asked: dict[str, Any]) -> Answer:
        seen.append(contents(asked))
        if "keep the memory" in asked["messages"][0]["content"]:
            return Answer("They talk about numbers.")
        return Answer("y" * 400)

    with provider.answering("long", answer):
        for number in range(6):
            app.run(f"long {number} " + "x" * 400, thread_id="long", agent="forgetful")
    summaries = [told for told in seen if "keep the memory" in told[0]]
    assert summaries
    assert "long 0" in summaries[0][1]
    assert "They talk about numbers." in seen[-1][1]
    assert "long 0" not in "".join(seen[-1])
    # 300 tokens of earlier messages, the summary, the instructions and the query itself.
    assert max(len("".join(told)) for told in seen if told not in summaries) < 300 * 4 + 1000
    page = thread(app, "long")
    assert (page["length"], page["summary"]) == (12, "They talk about numbers.")


def test_without_a_model_for_the_summary_the_task_goes_on(app: App, provider: ScriptedProvider) -> None:
    def answer(asked: dict[str, Any]) -> Answer | Failure:
        return Failure(500) if "keep the memory" in asked["messages"][0]["content"] else Answer("y" * 800)

    with provider.answering("mute", answer):
        tasks = [app.run(f"mute {number} " + "x" * 800, thread_id="mute", agent="forgetful") for number in range(3)]
    assert [task["status"] for task in tasks] == ["completed"] * 3
    assert thread(app, "mute")["summary"] is None


def test_two_users_threads_of_one_name_know_nothing_of_each_other(app: App, provider: ScriptedProvider) -> None:
    app.run(provider.plan("Private", [Answer("Yes.")]), thread_id="private")
    stranger = app.client_for(app.make_key("thread-stranger"))
    missing = problem(stranger.get("/agent/threads/nowhere"), 404)["detail"]
    assert problem(stranger.get("/agent/threads/private"), 404)["detail"] == missing.replace("nowhere", "private")
    body = {"query": provider.plan("Let me in", [Answer("In where?")]), "thread_id": "private"}
    task_id = stranger.post("/agent/task", json=body).json()["task_id"]
    until(lambda: stranger.get(f"/agent/task/{task_id}"), lambda response: response.status_code == 200)
    theirs = stranger.get("/agent/threads/private").json()
    assert (theirs["thread_id"], [message["content"] for message in theirs["messages"]]) == (
        "private",
        ["Let me in", "In where?"],
    )
    assert [message["content"] for message in thread(app, "private")["messages"]] == ["Private", "Yes."]


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_summary_is_none_and_forgets_nothing(app: App, provider: ScriptedProvider, text: str) -> None:
    name = f"mumbling{len(text)}"

    def answer(asked: dict[str, Any]) -> Answer:
        return Answer(text) if "keep the memory" in asked["messages"][0]["content"] else Answer("y" * 800)

    with provider.answering(name, answer):
        for number in range(3):
            app.run(f"{name} {number} " + "x" * 800, thread_id=name, agent="forgetful")
    assert thread(app, name)["summary"] is None


def test_a_summary_stays_bounded_whatever_the_model_writes(app: App, provider: ScriptedProvider) -> None:
    def answer(asked: dict[str, Any]) -> Answer:
        return Answer("z" * 100_000 if "keep the memory" in asked["messages"][0]["content"] else "y" * 800, piece=9000)

    with provider.answering("chatty", answer):
        for number in range(3):
            app.run(f"chatty {number} " + "x" * 800, thread_id="chatty", agent="forgetful")
    assert len(thread(app, "chatty")["summary"]) == 4000


def test_a_task_cancelled_at_any_moment_frees_its_thread(app: App, provider: ScriptedProvider) -> None:
    def answer(asked: dict[str, Any]) -> Answer:
        # Something that can be run, and never the same again: either would be the end of the task.
        return Answer(calls=(call("calculate", 0, expression=str(len(asked["messages"]))),))

    with provider.answering("loop", answer):
        for number in range(15):
            name = f"loop-{number}"
            started = app.start(f"loop {number}", thread_id=name, agent="lengthy")
            for _ in range(number):
                app.client.get(f"/agent/task/{started['task_id']}")
            app.client.post(f"/agent/task/{started['task_id']}/cancel").raise_for_status()
            until(lambda url=started["statusQueryGetUri"]: httpx.get(url), lambda r: r.status_code != 202, 15)
            assert thread(app, name)["busy"] is None


@pytest.mark.parametrize("thread_id", ["", "a/b", "a\\b", "a?b", "a#b", " a", "é", "x" * 65, "-a", 5])
def test_a_bad_thread_id_is_refused(app: App, thread_id: Any) -> None:
    response = app.client.post("/agent/task", json={"query": "x", "thread_id": thread_id})
    assert "/thread_id" in json.dumps(problem(response, 422))


def test_a_task_that_stood_still_too_long_says_that_it_lost_its_thread(app: App, provider: ScriptedProvider) -> None:
    """The lease is handed to another by cutting it short in the store, as three minutes of silence would."""
    asked = threading.Event()

    def slow(_: dict[str, Any]) -> Slow:
        asked.set()
        return Slow(1.0, Answer("Too late."))

    provider.plan("Stand still", [slow, Answer("Mine now.")])
    started = app.start("Stand still", thread_id="lost", agent="faulty")
    assert asked.wait(10)
    app.expire_lease("lost")
    other = app.start("Stand still", thread_id="lost", agent="faulty")
    task = app.finish(started["task_id"])
    assert (task["status"], task["reason"], task["result"]) == ("failed", "lease_lost", None)
    assert app.finish(other["task_id"])["result"] == "Mine now."
