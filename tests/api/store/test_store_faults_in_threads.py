"""Threads over a store that fails: every turn whole, in order and once, and no thread held for nothing."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from perdure.documents.containers import TASKS, THREADS
from tests.api.test_http import problem
from tests.api.test_task_loop import call
from tests.api.test_threads import thread
from tests.app import App, ScriptedProvider, until
from tests.cosmos.fault_proxy import DROPPED, DROPPED_AND_DONE, FaultProxy
from tests.openai_server import Answer, Reply
from tests.store_faults import REFUSED, REFUSED_AND_DONE, Losses, Outage, during, effects, ended, holds, run


def test_ten_tasks_that_queue_for_one_thread_leave_every_turn_whole_and_in_order(
    app: App, provider: ScriptedProvider
) -> None:
    def answer(asked: dict[str, Any]) -> Reply:
        last = asked["messages"][-1]
        if last["role"] == "user":
            return Answer("Calling.", (call("echo", text=last["content"]),))
        return Answer(f"Answer to {last['content']}")

    def start(number: int) -> dict[str, Any]:
        return app.start(f"ten {number}", thread_id="ten", if_busy="queue", agent="courier")

    with provider.answering("ten ", answer), ThreadPoolExecutor(10) as pool:
        accepted = [started["task_id"] for started in pool.map(start, range(10))]
        tasks = [app.finish(task_id) for task_id in accepted]
    assert {task["status"] for task in tasks} == {"completed"}
    messages = thread(app, "ten", limit=200)["messages"]
    assert [message["number"] for message in messages] == list(range(40))
    turns = [messages[at : at + 4] for at in range(0, 40, 4)]
    for turn in turns:
        assert [message["role"] for message in turn] == ["user", "assistant", "tool", "assistant"]
        assert len({message["task_id"] for message in turn}) == 1
        assert turn[3]["content"] == f"Answer to {turn[0]['content']}"
    assert {turn[0]["task_id"] for turn in turns} == set(accepted)


def test_a_turn_whose_confirmation_is_late_counts_although_another_task_entered_the_thread_meanwhile(
    app: App, provider: ScriptedProvider, proxy: FaultProxy
) -> None:
    """The other's entry overwrites the mark by which the adapter knows its own writes."""

    def answer(asked: dict[str, Any]) -> Reply:
        return Answer("I was first." if asked["messages"][-1]["content"] == "overtaken 1" else "I was second.")

    losing = Losses(holds(THREADS, "I was first."), DROPPED_AND_DONE, DROPPED, DROPPED)
    with provider.answering("overtaken ", answer), during(proxy, losing):
        first = app.start("overtaken 1", thread_id="overtaken", agent="courier")
        assert losing.began.wait(30)
        second = app.start("overtaken 2", thread_id="overtaken", agent="courier", if_busy="queue")
        ended(first)
        ended(second)
    assert app.finish(second["task_id"])["result"] == "I was second."
    contents = [message["content"] for message in thread(app, "overtaken")["messages"]]
    assert contents == ["overtaken 1", "I was first.", "overtaken 2", "I was second."]
    task = app.finish(first["task_id"])
    assert (task["status"], task["reason"], task["result"]) == ("completed", "answered", "I was first.")


def test_a_task_whose_entry_is_confirmed_late_has_its_thread_although_another_queued_meanwhile(
    app: App, provider: ScriptedProvider, proxy: FaultProxy
) -> None:
    with provider.answering("entered ", lambda _: Answer("Here.")), ThreadPoolExecutor(1) as pool:
        run(app, "entered 0", thread_id="entered")
        # Whoever enters it when it is free; the next one has a queue.
        entry = holds(THREADS, '"ifMatch"', '"name":"entered"', '"queue":[]')
        with during(proxy, losing := Losses(entry, DROPPED_AND_DONE, DROPPED, DROPPED)):
            body = {"query": "entered 1", "thread_id": "entered", "agent": "courier"}
            entering = pool.submit(app.client.post, "/agent/task", json=body)
            assert losing.began.wait(30)
            second = app.start("entered 2", thread_id="entered", agent="courier", if_busy="queue")
            first = entering.result()
        if first.status_code != 202:
            app.client.post(f"/agent/task/{second['task_id']}/cancel").raise_for_status()
        assert first.status_code == 202, first.text
        ended(first.json())
        ended(second)
    assert thread(app, "entered")["length"] == 6


def start_halfway(app: App, provider: ScriptedProvider, proxy: FaultProxy, query: str, faults: Outage | Losses) -> None:
    """Start a task whose thread is taken but which cannot be stored, then another in the same thread."""
    body = {"query": query, "thread_id": query.replace(" ", "-")}
    with provider.answering(query, lambda _: Answer("In.")):
        with during(proxy, faults):
            problem(app.client.post("/agent/task", json=body), 503)
        again = app.client.post("/agent/task", json=body)
        assert again.status_code == 202, again.text
        assert app.finish(again.json()["task_id"])["result"] == "In."


def test_a_task_that_could_not_be_stored_does_not_hold_its_thread(
    app: App, provider: ScriptedProvider, proxy: FaultProxy
) -> None:
    start_halfway(app, provider, proxy, "halfway in", Losses(holds(TASKS, "halfway in"), REFUSED))


def test_a_task_whose_entry_was_done_and_answered_503_does_not_hold_its_thread(
    app: App, provider: ScriptedProvider, proxy: FaultProxy
) -> None:
    entry = holds(THREADS, '"name":"entered-unseen"')
    start_halfway(app, provider, proxy, "entered unseen", Losses(entry, REFUSED_AND_DONE))
    assert "entered unseen" in [task["query"] for task in app.client.get("/agent/task").json()["tasks"]]


def test_a_task_left_in_its_thread_by_a_store_that_went_away_is_found_and_ended(
    app: App, provider: ScriptedProvider, proxy: FaultProxy
) -> None:
    """The store takes the entry and is gone, so nothing could be taken back."""
    body = {"query": "vanish", "thread_id": "vanished"}
    entry = holds(THREADS, '"name":"vanished"')
    with during(proxy, Outage(entry, 3, REFUSED, first=REFUSED_AND_DONE)):
        problem(app.client.post("/agent/task", json=body), 503)

    def left() -> list[dict[str, Any]]:
        return [task for task in app.client.get("/agent/task").json()["tasks"] if task["query"] == "vanish"]

    # It has no orchestration, which is known for sure START_SECONDS after it came.
    [task] = until(left, lambda tasks: bool(tasks) and tasks[0]["status"] == "failed")
    assert task["reason"] == "lost"
    assert thread(app, "vanished")["busy"] is None


def test_a_task_whose_cancellation_was_recorded_and_answered_503_leaves_its_thread(
    app: App, provider: ScriptedProvider, proxy: FaultProxy, tmp_path: Path
) -> None:
    """The task has ended, and its orchestration was never told."""
    started = app.start(provider.plan("Be cancelled", [effects(1, tmp_path)]), agent="courier", thread_id="cancelling")
    until(lambda: list(tmp_path.iterdir()), bool)
    with during(proxy, Losses(holds(TASKS, '"reason":"cancelled"'), REFUSED_AND_DONE)):
        problem(app.client.post(f"/agent/task/{started['task_id']}/cancel"), 503)
    ended(started)
    assert app.finish(started["task_id"])["reason"] == "cancelled"
    assert thread(app, "cancelling")["busy"] is None
