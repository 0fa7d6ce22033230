"""The agent loop as a caller sees it: a query in, steps and tool calls, an answer out."""

import itertools
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from perdure.domain.breaker import FAILURES
from tests.app import App, ScriptedProvider, until
from tests.openai_server import Answer, Call, Failure


def call(name: str, number: int = 0, **arguments: Any) -> Call:
    return Call(name, json.dumps(arguments), f"call_{number}")


def results(asked: dict[str, Any]) -> list[str]:
    """What the model is told of its last calls."""
    return [message["content"] for message in asked["messages"] if message["role"] == "tool"]


def test_an_answer_without_tools_completes_the_task(app: App, provider: ScriptedProvider) -> None:
    task = app.run(provider.plan("Say hello", [Answer("Hello!", usage=(11, 3))]))
    assert (task["status"], task["reason"], task["result"]) == ("completed", "answered", "Hello!")
    assert task["usage"] == {"input_tokens": 11, "output_tokens": 3, "steps": 1, "cost_usd": 0.000017}
    assert (task["thoughts"], task["tool_calls"], task["agent"]) == ([], [], "assistant")


def test_tool_calls_of_one_turn_overlap_in_time_and_reach_the_model_in_order(
    app: App, provider: ScriptedProvider
) -> None:
    told: list[list[str]] = []

    def answer(asked: dict[str, Any]) -> Answer:
        told.append(results(asked))
        return Answer("Rested.")

    naps = tuple(call("nap", number, seconds=0.5 + number / 10) for number in range(3))
    query = provider.plan("Take three naps", [Answer("I shall rest.", naps), answer])
    task = app.run(query, agent="faulty")
    assert task["result"] == "Rested."
    assert told == [["slept 0.5 s", "slept 0.6 s", "slept 0.7 s"]]
    assert task["thoughts"] == ["I shall rest."]
    calls = task["tool_calls"]
    assert [(entry["tool"], entry["index"], entry["state"]) for entry in calls] == [
        ("nap", n, "committed") for n in range(3)
    ]
    assert max(entry["started_at"] for entry in calls) < min(entry["ended_at"] for entry in calls)


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("explode", {"message": "boom"}, "RuntimeError: boom"),
        ("refuse", {"message": "Only on Sundays."}, "Only on Sundays."),
        ("hang_async", {}, "0.3 s"),
        ("hang_in_thread", {}, "0.3 s"),
        ("flood", {}, "100000 bytes"),
        ("echo", {"text": 5}, "text"),
        ("echo", {"text": "x", "volume": 11}, "volume"),
        ("no_such_tool", {}, "There is no tool 'no_such_tool'"),
        ("huge", {}, "too large to be stored"),
    ],
)
def test_a_failing_tool_is_told_to_the_model_and_discards_no_sibling(
    app: App, provider: ScriptedProvider, tool: str, arguments: dict[str, Any], said: str
) -> None:
    told: list[list[str]] = []

    def answer(asked: dict[str, Any]) -> Answer:
        told.append(results(asked))
        return Answer("One of them failed.")

    calls = (call("echo", 0, text="before"), call(tool, 1, **arguments), call("echo", 2, text="after"))
    query = provider.plan(f"Try {tool} with {arguments}", [Answer(calls=calls), answer])
    task = app.run(query, agent="faulty")
    assert (task["status"], task["result"]) == ("completed", "One of them failed.")
    assert [entry["state"] for entry in task["tool_calls"]] == ["committed", "failed", "committed"]
    [[before, failed, after]] = told
    assert (before, after) == ("before", "after")
    assert said in failed


def test_malformed_arguments_are_a_tool_error_the_model_sees(app: App, provider: ScriptedProvider) -> None:
    calls = (Call("echo", '{"text": "unfinis', "call_0"),)
    query = provider.plan("Write bad JSON", [Answer(calls=calls), Answer("Sorry.")])
    task = app.run(query, agent="faulty")
    assert (task["result"], task["tool_calls"][0]["state"]) == ("Sorry.", "failed")
    assert "JSON" in task["tool_calls"][0]["result"]


def test_an_idempotent_tool_that_is_unavailable_is_tried_again(
    app: App, provider: ScriptedProvider, tmp_path: Path
) -> None:
    counter = str(tmp_path / "attempts")
    query = provider.plan("Be patient", [Answer(calls=(call("flaky", counter=counter),)), Answer("Patience.")])
    task = app.run(query, agent="faulty")
    assert [entry["result"] for entry in task["tool_calls"]] == ["answered at attempt 3"]


@pytest.mark.usefixtures("rested_tools")
def test_a_tool_that_is_down_is_told_to_the_model_at_once_and_found_again_when_it_is_up(
    app: App, provider: ScriptedProvider, tmp_path: Path
) -> None:
    up = tmp_path / "up"

    def ask(number: int) -> dict[str, Any]:
        asking = Answer(calls=(call("unreliable", up=str(up)),))
        return app.start(provider.plan(f"Is {up} up? {number}", [asking, Answer("Well.")]), agent="faulty")

    def outcome(number: int) -> str:
        return app.finish(ask(number)["task_id"])["tool_calls"][0]["result"]

    failing = [ask(number)["task_id"] for number in range(FAILURES)]
    until(
        lambda: app.client.get("/approvals", params={"limit": 100}).json()["approvals"],
        lambda asked: {one["task_id"] for one in asked} >= set(failing),
    )
    assert "unavailable for now, so this call was not run" in outcome(FAILURES)
    up.touch()
    numbers = itertools.count(FAILURES + 1)
    assert until(lambda: outcome(next(numbers)), lambda told: "not run" not in told) == "it is up"
    for task_id in failing:
        app.client.post(f"/agent/task/{task_id}/approvals/1-0-1", json={"resolve": "failed"}).raise_for_status()
        app.finish(task_id)


@pytest.mark.parametrize(("tool", "effects"), [("transfer", 1), ("slow_effect", 2)])
def test_the_same_call_twice_in_a_turn_runs_once_unless_its_tool_says_otherwise(
    app: App, provider: ScriptedProvider, tmp_path: Path, tool: str, effects: int
) -> None:
    told: list[list[str]] = []

    def answer(asked: dict[str, Any]) -> Answer:
        told.append(results(asked))
        return Answer("Both.")

    arguments = {"amount": 5, "folder": str(tmp_path)} if tool == "transfer" else {"folder": str(tmp_path)}
    twice = (call(tool, 0, **arguments), Call(tool, json.dumps(dict(reversed(arguments.items())), indent=1), "again"))
    task = app.run(provider.plan(f"Do the same with {tool}", [Answer(calls=twice), answer]), agent="faulty")
    assert len(list(tmp_path.iterdir())) == effects
    [first, second] = task["tool_calls"]
    assert (first["state"], second["state"], first["result"]) == ("committed", "committed", second["result"])
    assert (first["same_as"], second["same_as"]) == (None, "1-0" if effects == 1 else None)
    assert told == [[first["result"]] * 2]


def test_the_step_limit_ends_a_task_with_its_own_reason(app: App, provider: ScriptedProvider) -> None:
    steps = [Answer(f"Thought {n}.", (call("echo", text=str(n)),)) for n in range(5)]
    task = app.run(provider.plan("Never stop", steps), agent="faulty")
    assert (task["status"], task["reason"], task["result"]) == ("failed", "step_limit", None)
    assert "5 steps" in task["detail"]
    assert task["thoughts"] == [f"Thought {n}." for n in range(5)]
    # The last turn's call was asked for but not run: no step was left to make use of it.
    assert [entry["state"] for entry in task["tool_calls"]] == ["committed"] * 4 + ["prepared"]


def test_the_time_limit_ends_a_task_that_is_waiting_for_a_tool(app: App, provider: ScriptedProvider) -> None:
    query = provider.plan("Sleep too long", [Answer(calls=(call("nap", seconds=20),))])
    task = app.run(query, agent="hurried")
    assert (task["status"], task["reason"]) == ("failed", "time_limit")


def test_a_model_that_says_nothing_is_told_twice_before_that_ends_the_task(
    app: App, provider: ScriptedProvider
) -> None:
    said: list[str] = []

    def nothing(asked: dict[str, Any]) -> Answer:
        said.append(asked["messages"][-1]["content"])
        return Answer("")

    task = app.run(provider.plan("Say nothing", [nothing] * 3))
    assert (task["status"], task["reason"], task["usage"]["steps"]) == ("failed", "empty_reply", 3)
    assert said == ["Say nothing", *["Your last reply was empty. Answer the question, or call a tool."] * 2]


def test_a_model_that_takes_the_hint_completes_the_task(app: App, provider: ScriptedProvider) -> None:
    bad = Answer(calls=(Call("echo", '{"text": "unfinis', "call_0"),))
    task = app.run(provider.plan("Stumble", [Answer(""), bad, Answer("There.")]), agent="faulty")
    assert (task["status"], task["result"]) == ("completed", "There.")


def test_calls_that_cannot_be_run_end_a_task_when_the_model_was_told_twice(
    app: App, provider: ScriptedProvider
) -> None:
    bad = [Answer(calls=(call("no_such_tool"),)), Answer(calls=(Call("echo", "{", "call_0"),))]
    task = app.run(provider.plan("Never learn", [*bad, bad[0]]), agent="faulty")
    assert (task["status"], task["reason"]) == ("failed", "invalid_output")
    assert [entry["state"] for entry in task["tool_calls"]] == ["failed"] * 3


def test_the_same_call_with_the_same_result_is_not_run_for_ever(
    app: App, provider: ScriptedProvider, tmp_path: Path
) -> None:
    folder = str(tmp_path)
    again = Answer(calls=(call("calculate", expression="1+1"), call("slow_effect", 1, folder=folder)))
    task = app.run(provider.plan("Go in circles", [again] * 6), agent="patient")
    assert (task["status"], task["reason"]) == ("failed", "repetition")
    assert len(list(tmp_path.iterdir())) == 3
    told = [entry["result"] for entry in task["tool_calls"] if entry["step"] in (4, 5)]
    assert all("same results each time" in result for result in told)


def test_a_rate_limit_is_waited_for_as_long_as_the_provider_says(app: App, provider: ScriptedProvider) -> None:
    limited = Failure(429, "slow down", headers={"Retry-After": "1"})
    task = app.run(provider.plan("Be limited", [limited, Failure(500), Answer("At last.")]))
    assert (task["result"], task["usage"]["steps"]) == ("At last.", 1)


def test_a_request_the_provider_refuses_ends_the_task_with_its_words(app: App, provider: ScriptedProvider) -> None:
    task = app.run(provider.plan("Be refused", [Failure(400, "unknown model scripted")]))
    assert (task["status"], task["reason"]) == ("failed", "model_rejected")
    assert "unknown model scripted" in task["detail"]


def test_context_and_instructions_reach_the_model_before_the_query(app: App, provider: ScriptedProvider) -> None:
    seen: list[dict[str, Any]] = []

    def answer(asked: dict[str, Any]) -> Answer:
        seen.append(asked)
        return Answer("Ok.")

    app.run(provider.plan("Use the context", [answer]), agent="faulty", context={"customer": "Zoë"})
    [asked] = seen
    assert [message["role"] for message in asked["messages"]] == ["system", "system", "user"]
    assert asked["messages"][0]["content"].strip() == "Try everything."
    assert '{"customer": "Zoë"}' in asked["messages"][1]["content"]
    assert {"echo", "calculate"} <= {tool["function"]["name"] for tool in asked["tools"]}


def test_more_steps_than_one_generation_keep_the_conversation_whole(app: App, provider: ScriptedProvider) -> None:
    last: list[list[str]] = []

    def answer(asked: dict[str, Any]) -> Answer:
        last.append(results(asked))
        return Answer("Twelve.")

    steps = [Answer(calls=(call("calculate", expression=f"{n}+1"),)) for n in range(12)]
    task = app.run(provider.plan("Count to twelve", [*steps, answer]))
    assert (task["result"], task["usage"]["steps"]) == ("Twelve.", 13)
    assert len(last[0]) == 12
    assert all(str(n + 1) in result for n, result in enumerate(last[0]))


def test_the_status_url_is_the_contract(app: App, provider: ScriptedProvider) -> None:
    started = app.start(provider.plan("Answer at the status URL", [Answer("There.")]))
    assert started["status"] == "processing"
    assert started["id"] == started["task_id"]
    status = until(lambda: httpx.get(started["statusQueryGetUri"]), lambda response: response.status_code != 202).json()
    assert status["runtimeStatus"] == "Completed"
    assert status["output"] == {
        "task_id": started["task_id"], "status": "completed", "reason": "answered", "result": "There.", "detail": None,
        "usage": {"input_tokens": 7, "output_tokens": 5, "steps": 1, "cost_usd": 0.000017},
    }  # fmt: skip
    for name in ("sendEventPostUri", "terminatePostUri", "suspendPostUri", "resumePostUri", "purgeHistoryDeleteUri"):
        assert started["task_id"] in started[name]
