"""Agents that ask other agents, over HTTP."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_approvals import decide, wait_for_call, waiting_calls
from tests.app import App, ScriptedProvider
from tests.devhost_process import until
from tests.openai_server import Answer, Call

SIX_TIMES_SEVEN = Call("calculate", '{"expression": "6 * 7"}', "call_sum")
DANGEROUS = Answer(calls=(Call("dangerous", "{}"),))


def ask(agent: str, query: str, id: str = "call_0") -> Call:
    return Call(f"ask_{agent}", json.dumps({"query": query}), id)


def reading(text: str) -> tuple[Callable[[dict[str, Any]], Answer], list[str]]:
    """An answer, and what the tools had told when it was given."""
    told: list[str] = []

    def answer(asked: dict[str, Any]) -> Answer:
        told.extend(message["content"] for message in asked["messages"] if message["role"] == "tool")
        return Answer(text)

    return answer, told


def child_of(app: App, task: dict[str, Any], call: int = 0) -> dict[str, Any]:
    return look(app, task["tool_calls"][call]["task_id"])


def look(app: App, task_id: str) -> dict[str, Any]:
    return app.client.get(f"/agent/task/{task_id}").raise_for_status().json()


def asked_task(app: App, task_id: str) -> str:
    """The task that answers a task's first call, as soon as there is one."""
    calls = until(lambda: look(app, task_id)["tool_calls"], bool)
    return calls[0]["task_id"]


def hub_status(app: App, task_id: str) -> str:
    return app.client.get(f"/agent/task/{task_id}/status").json()["runtimeStatus"]


def test_an_agent_asks_another_and_reads_its_answer(app: App, provider: ScriptedProvider) -> None:
    provider.plan("How deep is the lake?", [Answer(calls=(SIX_TIMES_SEVEN,)), Answer("42 m.")])
    conclude, told = reading("It is 42 m deep.")
    first = Answer("I ask.", calls=(ask("helper", "How deep is the lake?"),))
    task = app.run(provider.plan("Find out about the lake", [first, conclude]), agent="boss")
    assert (task["status"], task["result"], told) == ("completed", "It is 42 m deep.", ["42 m."])
    [call] = task["tool_calls"]
    assert (call["tool"], call["state"], call["result"]) == ("ask_helper", "committed", "42 m.")
    child = child_of(app, task)
    assert (child["parent_id"], child["agent"], child["query"]) == (task["task_id"], "helper", "How deep is the lake?")
    assert (child["status"], child["result"], len(child["steps"])) == ("completed", "42 m.", 2)
    assert hub_status(app, child["task_id"]) == "Completed"


def test_a_task_lists_as_its_own_use_what_those_used_that_it_asked_and_is_listed_alone(
    app: App, provider: ScriptedProvider
) -> None:
    provider.plan("Who won?", [Answer("Nobody.", usage=(30, 4))])
    steps = [Answer(calls=(ask("helper", "Who won?"),), usage=(10, 1)), Answer("It was a draw.", usage=(20, 2))]
    task = app.run(provider.plan("Ask who won", steps), agent="boss")
    usage = task["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["steps"]) == (60, 7, 3)
    assert usage["cost_usd"] == pytest.approx((60 + 2 * 7) / 1e6)
    assert len(task["steps"]) == 2
    listed = app.client.get("/agent/task", params={"limit": 100}).json()["tasks"]
    assert task["task_id"] in {one["task_id"] for one in listed}
    assert {one["parent_id"] for one in listed} == {None}


def test_agents_and_tools_of_one_turn_run_side_by_side(app: App, provider: ScriptedProvider) -> None:
    """Both agents wait for a person at the same time, and a tool is done by then."""
    for name in ("first", "second"):
        provider.plan(f"Wait, {name}", [DANGEROUS, Answer(f"The {name} waited.")])
    conclude, told = reading("They did.")
    calls = (ask("helper", "Wait, first", "call_1"), SIX_TIMES_SEVEN, ask("helper", "Wait, second", "call_2"))
    task_id = app.start(provider.plan("Let them wait", [Answer(calls=calls), conclude]), agent="boss")["task_id"]
    first, tool, second = until(lambda: look(app, task_id)["tool_calls"], bool)
    approvals = [wait_for_call(app.client, call["task_id"]) for call in (first, second)]
    until(lambda: look(app, task_id)["tool_calls"][1]["state"], lambda state: state == "committed")
    for approval in approvals:
        assert decide(app.client, approval, "approve").is_success
    assert app.finish(task_id)["result"] == "They did."
    assert (told[0], told[2]) == ("The first waited.", "The second waited.")
    assert ("42" in told[1], tool["task_id"]) == (True, None)


def test_an_agent_that_is_asked_asks_in_turn(app: App, provider: ScriptedProvider) -> None:
    provider.plan("Deep question", [Answer("Deep answer.")])
    provider.plan("Middle question", [Answer(calls=(ask("helper", "Deep question"),)), Answer("Middle answer.")])
    steps = [Answer(calls=(ask("middle", "Middle question"),)), Answer("Top answer.")]
    task = app.run(provider.plan("Top question", steps), agent="boss")
    middle = child_of(app, task)
    deep = child_of(app, middle)
    assert [one["result"] for one in (task, middle, deep)] == ["Top answer.", "Middle answer.", "Deep answer."]
    assert [one["usage"]["steps"] for one in (task, middle, deep)] == [5, 3, 1]


def test_the_same_question_twice_in_a_turn_is_asked_and_counted_once(app: App, provider: ScriptedProvider) -> None:
    provider.plan("Once, please", [Answer("Once.")])
    conclude, told = reading("Done.")
    twice = Answer(calls=(ask("helper", "Once, please", "call_1"), ask("helper", "Once, please", "call_2")))
    task = app.run(provider.plan("Ask twice", [twice, conclude]), agent="boss")
    assert (told, task["usage"]["steps"]) == (["Once.", "Once."], 3)


def test_what_cannot_be_asked_is_told_to_the_model(app: App, provider: ScriptedProvider) -> None:
    conclude, told = reading("I see.")
    blank = (Call("ask_helper", '{"query": "  "}', "call_1"), Call("ask_nobody", '{"query": "Hm?"}', "call_2"))
    app.run(provider.plan("Ask nothing", [Answer(calls=blank), conclude]), agent="boss")
    assert "query" in told[0]
    assert "There is no tool 'ask_nobody'" in told[1]


def test_a_call_of_an_asked_agent_waits_for_a_person_and_so_does_the_task_that_asked(
    app: App, provider: ScriptedProvider
) -> None:
    conclude, told = reading("It was done.")
    provider.plan("Do the dangerous thing", [DANGEROUS, conclude])
    steps = [Answer(calls=(ask("helper", "Do the dangerous thing"),)), Answer("All done.")]
    task_id = app.start(provider.plan("Have it done", steps), agent="boss")["task_id"]
    child_id = asked_task(app, task_id)
    approval = wait_for_call(app.client, child_id)
    assert (approval["parent_id"], approval["agent"], approval["user"]) == (task_id, "helper", "developer")
    assert decide(app.client, approval, "approve").is_success
    assert app.finish(task_id)["result"] == "All done."
    assert told == ["done without asking"]


def test_rules_of_the_agent_that_asks_hold_beside_those_of_the_one_that_is_asked(
    app: App, provider: ScriptedProvider, tmp_path: Path
) -> None:
    moves = [{"amount": 100}, {"amount": 101}, {"amount": 5, "note": "rent"}]
    calls = tuple(
        Call("transfer", json.dumps({**move, "folder": str(tmp_path)}), f"call_{n}") for n, move in enumerate(moves)
    )
    provider.plan("Send some money", [Answer(calls=calls), Answer("Sent.")])
    steps = [Answer(calls=(ask("sender", "Send some money"),)), Answer("All sent.")]
    task_id = app.start(provider.plan("Have money sent", steps), agent="boss")["task_id"]
    child_id = asked_task(app, task_id)
    waiting = until(lambda: waiting_calls(app.client, child_id), bool)
    assert sorted(approval["call_id"] for approval in waiting) == ["1-1", "1-2"]
    for approval in waiting:
        assert decide(app.client, approval, "reject").is_success
    assert app.finish(task_id)["result"] == "All sent."
    assert [file.read_text() for file in tmp_path.iterdir()] == ["100 "]


def test_time_that_an_asked_agent_waits_for_a_person_does_not_count(app: App, provider: ScriptedProvider) -> None:
    provider.plan("Wait for me", [DANGEROUS, Answer("Thanks.")])
    steps = [Answer(calls=(ask("helper", "Wait for me"),)), Answer("Well.")]
    query = provider.plan("Have somebody wait", steps)
    task_id = app.start(query, agent="boss", budget={"seconds": 3})["task_id"]
    approval = wait_for_call(app.client, asked_task(app, task_id))
    asked_at = datetime.fromisoformat(approval["asked_at"])
    until(lambda: (datetime.now(UTC) - asked_at).total_seconds(), lambda seconds: seconds > 4)
    assert decide(app.client, approval, "approve").is_success
    assert app.finish(task_id)["reason"] == "answered"


def test_those_who_are_asked_share_what_is_left_of_a_budget_with_the_one_who_asks(
    app: App, provider: ScriptedProvider
) -> None:
    bounds: list[int] = []

    def wordy(asked: dict[str, Any]) -> Answer:
        bounds.append(asked.get("max_completion_tokens") or asked["max_tokens"])
        return Answer("Hm.", calls=(SIX_TIMES_SEVEN,), usage=(100, 800))

    provider.plan("Be wordy", [wordy])
    provider.plan("Be brief", [Answer("Brief.")])
    conclude, told = reading("One of them answered.")
    calls = (ask("helper", "Be wordy", "call_1"), ask("helper", "Be brief", "call_2"))
    query = provider.plan("Ask two", [Answer(calls=calls), conclude])
    task = app.run(query, agent="boss", budget={"tokens": 3012})
    assert bounds[0] < 1000, "a third of what was left"
    assert told[0].startswith("Error: helper ended without an answer (budget_exceeded). The task's budget is used up")
    assert told[0].endswith("What it had written by then:\nHm.")
    assert told[1] == "Brief."
    assert task["result"] == "One of them answered."
    assert task["usage"]["input_tokens"] + task["usage"]["output_tokens"] == 900 + 3 * 12


def test_steps_of_those_who_are_asked_count_and_one_is_kept_for_the_one_who_asks(
    app: App, provider: ScriptedProvider
) -> None:
    provider.plan("Take a step", [Answer(calls=(SIX_TIMES_SEVEN,))])
    conclude, told = reading("No luck.")
    query = provider.plan("Ask within three steps", [Answer(calls=(ask("helper", "Take a step"),)), conclude])
    task = app.run(query, agent="boss", budget={"steps": 3})
    assert told == ["Error: helper ended without an answer (step_limit). No answer within 1 steps."]
    assert (task["reason"], task["usage"]["steps"]) == ("answered", 3)
    conclude, told = reading("No steps.")
    query = provider.plan("Ask within two steps", [Answer(calls=(ask("helper", "Never asked"),)), conclude])
    assert app.run(query, agent="boss", budget={"steps": 2})["reason"] == "answered"
    assert told == ["Error: Not asked: none of the task's steps are left for it."]


def test_a_task_that_reaches_its_time_limit_ends_with_those_it_asked(app: App, provider: ScriptedProvider) -> None:
    provider.plan("Sleep long", [Answer(calls=(Call("nap", '{"seconds": 8}'),))])
    query = provider.plan("Have somebody sleep", [Answer(calls=(ask("helper", "Sleep long"),))])
    task = app.run(query, agent="boss", budget={"seconds": 2})
    assert (task["reason"], child_of(app, task)["reason"]) == ("time_limit", "time_limit")


@pytest.mark.parametrize("way", ["cancel", "terminate"])
def test_a_task_that_is_ended_ends_those_it_asked_however_deep(app: App, provider: ScriptedProvider, way: str) -> None:
    deep, middle = f"Deep, to {way}", f"Middle, to {way}"
    provider.plan(deep, [DANGEROUS])
    provider.plan(middle, [Answer(calls=(ask("helper", deep),))])
    query = provider.plan(f"Top, to {way}", [Answer(calls=(ask("middle", middle),))])
    task_id = app.start(query, agent="boss")["task_id"]
    middle_id = asked_task(app, task_id)
    deep_id = asked_task(app, middle_id)
    wait_for_call(app.client, deep_id)
    assert app.client.post(f"/agent/task/{task_id}/{way}").is_success
    ends = {look(app, one)["reason"] for one in (task_id, middle_id, deep_id)}
    assert ends == {"cancelled" if way == "cancel" else "terminated"}, "at once, as far as anybody can see"
    for one in (task_id, middle_id, deep_id):
        until(lambda one=one: hub_status(app, one), lambda seen: seen in ("Completed", "Terminated"))
    assert not waiting_calls(app.client, deep_id)


@pytest.mark.parametrize("way", ["cancel", "terminate"])
def test_a_task_whose_asked_agent_is_ended_reads_that_and_goes_on(
    app: App, provider: ScriptedProvider, way: str
) -> None:
    conclude, told = reading("Then not.")
    provider.plan(f"Wait, to {way}", [DANGEROUS])
    query = provider.plan(f"Ask, to {way}", [Answer(calls=(ask("helper", f"Wait, to {way}"),)), conclude])
    task_id = app.start(query, agent="boss")["task_id"]
    child_id = asked_task(app, task_id)
    wait_for_call(app.client, child_id)
    assert app.client.post(f"/agent/task/{child_id}/{way}").is_success
    assert app.finish(task_id)["result"] == "Then not."
    assert told[0].startswith("Error: helper ended without an answer (")


def test_an_asked_agent_belongs_to_the_conversation_and_is_erased_with_it(app: App, provider: ScriptedProvider) -> None:
    conclude, _ = reading("Noted.")
    provider.plan("Look it up", [Answer("Found.")])
    steps = [Answer(calls=(ask("helper", "Look it up"),)), conclude]
    task = app.run(provider.plan("What do they say?", steps), agent="boss", thread_id="with-help")
    child_id = task["tool_calls"][0]["task_id"]
    messages = app.client.get("/agent/threads/with-help").json()["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert app.client.delete("/agent/threads/with-help").status_code == 200
    assert app.client.get(f"/agent/task/{child_id}").status_code == 404


def test_nobody_else_sees_the_task_of_an_asked_agent(app: App, provider: ScriptedProvider) -> None:
    provider.plan("A secret", [Answer("Hush.")])
    steps = [Answer(calls=(ask("helper", "A secret"),)), Answer("Well.")]
    task = app.run(provider.plan("Ask a secret", steps), agent="boss")
    other = app.client_for(app.make_key("stranger", "task:read"))
    assert other.get(f"/agent/task/{task['tool_calls'][0]['task_id']}").status_code == 404


def test_use_is_counted_once_by_the_agent_that_used_it(app: App, provider: ScriptedProvider) -> None:
    key = app.make_key("accountant", "task:run", "task:read")
    client = app.client_for(key)
    provider.plan("Count this", [Answer("One.", usage=(30, 4))])
    steps = [Answer(calls=(ask("helper", "Count this"),), usage=(10, 1)), Answer("Counted.", usage=(20, 2))]
    body = {"query": provider.plan("Have it counted", steps), "agent": "boss"}
    app.finish(client.post("/agent/task", json=body).json()["task_id"], client=client)
    used = client.get("/usage", params={"by": "agent"}).raise_for_status().json()["usage"]
    assert {(one["agent"], one["steps"], one["input_tokens"]) for one in used} == {("boss", 2, 30), ("helper", 1, 30)}
