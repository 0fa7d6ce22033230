"""What must stay bounded however much a task does."""

import json
from concurrent.futures import Future
from itertools import pairwise
from typing import Any

from tests.api.test_task_loop import call, results
from tests.app import App, ScriptedProvider
from tests.openai_server import Answer

THOUGHT = "x" * 200_000


def test_a_thousand_calls_of_one_turn_all_reach_the_model_in_order(app: App, provider: ScriptedProvider) -> None:
    told: list[list[str]] = []

    def answer(asked: dict[str, Any]) -> Answer:
        told.append(results(asked))
        return Answer("A thousand.")

    calls = tuple(call("echo", number, text=str(number)) for number in range(1000))
    task = app.run(provider.plan("Call a thousand tools", [Answer(calls=calls), answer]), agent="faulty")
    assert (task["status"], task["result"]) == ("completed", "A thousand.")
    assert told == [[str(number) for number in range(1000)]]
    assert {entry["state"] for entry in task["tool_calls"]} == {"committed"}


def test_durable_history_grows_by_less_than_3_kb_a_step_whatever_the_messages_weigh(
    app: App, provider: ScriptedProvider
) -> None:
    """30 steps, each with 200,000 characters of thought. History is weighed while each model step is under way."""
    sizes: list[int] = []
    started: Future[str] = Future()

    def weigh() -> None:
        task_id = started.result(timeout=30)
        sizes.append(sum(event.ByteSize() for event in app.history(task_id)))

    def step(asked: dict[str, Any]) -> Answer:
        weigh()
        return Answer(THOUGHT, (call("calculate", expression=f"1+{len(sizes)}"),), piece=50_000)

    def last(asked: dict[str, Any]) -> Answer:
        weigh()
        assert len(json.dumps(asked)) > 29 * 200_000
        return Answer("Enough.")

    started.set_result(app.start(provider.plan("Think at length", [*[step] * 29, last]), agent="lengthy")["task_id"])
    task = app.finish(started.result())
    assert (task["result"], task["usage"]["steps"]) == ("Enough.", 30)
    assert len(sizes) == 30
    assert min(sizes) > 0
    growth = [later - earlier for earlier, later in pairwise(sizes)]
    assert max(growth) < 3 * 1024
    # A generation is ten steps, after which history starts anew.
    assert max(sizes) < 10 * 3 * 1024
    assert [step for step, change in enumerate(growth, 2) if change < 0] == [11, 21]
