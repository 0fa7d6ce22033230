"""The app over a Cosmos endpoint that throttles, loses answers and goes away.

Between the app and the endpoint stands a proxy. A test names the request that it harms, or from which on it harms all,
by words that only this request has in it; so the harm is done in the same place however fast anything is. Absences are
scaled down: a minute is a few seconds here, within the adapter's own patience or beyond it as the test says.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from perdure.documents.containers import CONTROLS, TASKS, THREADS
from perdure.domain.thread import thread_key
from tests.api.test_http import events, problem
from tests.api.test_task_loop import call
from tests.api.test_threads import thread
from tests.app import App, ScriptedProvider, until
from tests.cosmos.endpoint import CosmosEndpoint
from tests.cosmos.fault_proxy import DROPPED, DROPPED_AND_DONE, Fault, FaultProxy
from tests.openai_server import Answer, Reply
from tests.store_faults import (
    LATE,
    REFUSED,
    REFUSED_AND_DONE,
    SOON,
    THROTTLED,
    EveryWrite,
    Losses,
    Outage,
    call_ids,
    during,
    effects,
    ended,
    feed,
    first_query,
    holds,
    run,
    stored,
    times_asked,
)


def test_a_task_with_three_calls_side_by_side_lives_in_cosmos_alone(
    app: App, provider: ScriptedProvider, endpoint: CosmosEndpoint, folder: Path, tmp_path: Path
) -> None:
    query = provider.plan("Leave three traces", [effects(3, tmp_path), Answer("Three.")])
    task = app.run(query, agent="courier", thread_id="alone")
    assert (task["status"], task["result"], task["usage"]["steps"]) == ("completed", "Three.", 2)
    assert [entry["state"] for entry in task["tool_calls"]] == ["committed"] * 3
    assert max(entry["started_at"] for entry in task["tool_calls"]) < min(e["ended_at"] for e in task["tool_calls"])
    assert len(list(tmp_path.iterdir())) == 3

    whole = events(app.client.get(f"/agent/task/{task['task_id']}/events"))
    assert whole[-1][1] == "done"
    for position, (cursor, _, _) in enumerate(whole):
        resumed = app.client.get(f"/agent/task/{task['task_id']}/events", headers={"Last-Event-ID": cursor})
        assert events(resumed) == whole[position + 1 :]
        assert (resumed.status_code == 204) == (position == len(whole) - 1)
    assert task["task_id"] in [listed["task_id"] for listed in app.client.get("/agent/task").json()["tasks"]]
    roles = [message["role"] for message in thread(app, "alone")["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "tool", "assistant"]

    of_task = {task["task_id"], "tools", "context", "step-00001", "step-00002"} | call_ids(3)
    assert set(stored(endpoint, TASKS, "default", task["task_id"])) == of_task
    of_thread = {thread_key("developer", "alone")} | {f"message-{number:08}" for number in range(6)}
    assert set(stored(endpoint, THREADS, "default", thread_key("developer", "alone"))) == of_thread
    assert stored(endpoint, CONTROLS, "system", "apiKey")
    assert list(folder.rglob("*.db*")) == []


def test_a_store_that_throttles_every_request_for_a_while_delays_a_task_and_changes_nothing_else(
    app: App, provider: ScriptedProvider, endpoint: CosmosEndpoint, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Three seconds for the issue's minute: the adapter itself waits up to 30, then the activity is tried again."""
    query = provider.plan("Leave traces slowly", [effects(2, tmp_path), Answer("Two.")])
    outage = Outage(holds(TASKS, str(tmp_path), "step-00001"), 3.0, THROTTLED)
    with during(proxy, outage):
        started = app.start(query, agent="courier", thread_id="throttled")
        # A follower asks the store again and again, all the while.
        followed = events(app.client.get(f"/agent/task/{started['task_id']}/events"))
    task = app.finish(started["task_id"])
    assert (task["status"], task["result"]) == ("completed", "Two.")
    assert times_asked(provider, query) == 2
    assert len(list(tmp_path.iterdir())) == 2
    of_task = {task["task_id"], "tools", "context", "step-00001", "step-00002"} | call_ids(2)
    assert set(stored(endpoint, TASKS, "default", task["task_id"])) == of_task
    assert [data["step"] for _, name, data in followed if name == "step"] == [1, 2]
    assert followed[-1][1] == "done"
    assert thread(app, "throttled")["length"] == 5


@pytest.mark.parametrize("first", [DROPPED, DROPPED_AND_DONE], ids=["before", "after"])
def test_a_store_that_goes_away_before_or_after_it_recorded_a_step_delays_the_task_and_changes_nothing_else(
    app: App, provider: ScriptedProvider, endpoint: CosmosEndpoint, proxy: FaultProxy, tmp_path: Path, first: Fault
) -> None:
    query = provider.plan(f"Leave a trace in {tmp_path}", [effects(1, tmp_path), Answer("One.")])
    with during(proxy, Outage(holds(TASKS, str(tmp_path), "step-00001"), SOON, DROPPED, first)):
        task = run(app, query, thread_id=tmp_path.name)
    assert (task["status"], task["result"]) == ("completed", "One.")
    assert [entry["state"] for entry in task["tool_calls"]] == ["committed"]
    assert times_asked(provider, query) == 2
    assert len(list(tmp_path.iterdir())) == 1
    of_task = {task["task_id"], "tools", "context", "step-00001", "step-00002", "call-00001-00000"}
    assert set(stored(endpoint, TASKS, "default", task["task_id"])) == of_task
    contents = [message["content"] for message in thread(app, tmp_path.name)["messages"]]
    assert [contents[0], *contents[2:]] == [query, "done", "One."]


def test_a_task_whose_every_write_is_lost_once_before_it_is_done_and_once_after_writes_everything_once(
    app: App, provider: ScriptedProvider, endpoint: CosmosEndpoint, proxy: FaultProxy, tmp_path: Path
) -> None:
    query = provider.plan("Leave two traces", [effects(2, tmp_path), Answer("Both.")])
    losing = EveryWrite(DROPPED, DROPPED_AND_DONE)
    with during(proxy, losing):
        task = run(app, query, thread_id="losing")
    # The thread and the task; the join and what it sees; twice the lease and a step; the calls, and twice each of the
    # two; the turn; the end.
    assert len(losing.attempts) >= 15
    assert min(losing.attempts.values()) == 3
    assert (task["status"], task["result"]) == ("completed", "Both.")
    assert [entry["state"] for entry in task["tool_calls"]] == ["committed"] * 2
    assert times_asked(provider, query) == 2
    assert len(list(tmp_path.iterdir())) == 2
    of_task = {task["task_id"], "tools", "context", "step-00001", "step-00002"} | call_ids(2)
    assert set(stored(endpoint, TASKS, "default", task["task_id"])) == of_task
    page = thread(app, "losing")
    assert ([message["number"] for message in page["messages"]], page["busy"]) == ([0, 1, 2, 3, 4], None)


@dataclass(frozen=True)
class Absence:
    """What happened while the store was away for longer than the adapter is patient, and after.

    Attributes:
        responses: By method and path, the answer to a request made when the store had just gone, and its seconds.
        thought: A task whose step was on its way to the store then.
        delivery: A task whose tool was at work then, in the thread "absence".
        outbox: The folder of the tool's effects.
    """

    responses: dict[str, tuple[httpx.Response, float]]
    thought: dict[str, Any]
    delivery: dict[str, Any]
    outbox: Path


@pytest.fixture(scope="module")
def absence(
    running: App, provider: ScriptedProvider, proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory
) -> Absence:
    outbox = tmp_path_factory.mktemp("outbox")
    steps = {"Deliver": call("deliver", outbox=str(outbox)), "Think": call("calculate", expression="6*7")}

    def answer(asked: dict[str, Any]) -> Reply:
        if asked["messages"][-1]["role"] == "user":
            query = first_query(asked)
            return Answer(f"To {query} I take a step.", (steps[query.split()[0]],))
        return Answer(asked["messages"][-1]["content"])

    def request(route: tuple[str, str]) -> tuple[httpx.Response, float]:
        begun = time.monotonic()
        body = {"query": "Come later"} if route[1] in ("/agent/task", "/memory/search") and route[0] == "POST" else None
        return running.client.request(*route, json=body), time.monotonic() - begun

    with provider.answering("during the absence", answer), ThreadPoolExecutor(8) as pool:
        delivery = running.start("Deliver during the absence", agent="courier", thread_id="absence")
        until(lambda: list(outbox.iterdir()), bool)
        outage = Outage(holds(TASKS, "To Think during the absence", "step-00001"), LATE, DROPPED)
        with during(proxy, outage):
            thought = running.start("Think during the absence", agent="courier")
            assert outage.began.wait(30)
            (outbox / "seen").touch()
            path = f"/agent/task/{thought['task_id']}"
            routes = [
                ("POST", "/agent/task"), ("GET", "/agent/task"), ("GET", path), ("GET", f"{path}/events"),
                ("POST", f"{path}/cancel"), ("GET", "/agent/threads/absence"), ("POST", "/memory/search"),
                ("GET", "/health"),
            ]  # fmt: skip
            answers = pool.map(request, routes)
            responses = {" ".join(route): answer for route, answer in zip(routes, answers, strict=True)}
            ended(thought)
            ended(delivery)
    tasks = [running.finish(started["task_id"]) for started in (thought, delivery)]
    return Absence(responses, *tasks, outbox)


def test_every_route_answers_503_in_bounded_time_while_the_store_is_away(absence: Absence) -> None:
    """Connections that are refused or dropped: about 5 s. A store that stays silent is waited for, 30 s in all."""
    for route, (response, seconds) in absence.responses.items():
        assert "store does not answer" in problem(response, 503)["detail"], route
        assert response.headers["Retry-After"] == "5"
        assert seconds < LATE, route


def test_a_request_refused_while_the_store_was_away_left_nothing_behind(absence: Absence, app: App) -> None:
    assert "Come later" not in app.client.get("/agent/task", params={"limit": 100}).text


def test_a_step_that_outlasted_the_adapters_patience_is_taken_again(
    absence: Absence, provider: ScriptedProvider, endpoint: CosmosEndpoint
) -> None:
    """Its reply was lost before it was stored, so the model is asked again: at most once for each attempt."""
    task = absence.thought
    assert (task["status"], task["usage"]["steps"]) == ("completed", 2)
    assert "42" in task["result"]
    of_task = {task["task_id"], "tools", "step-00001", "step-00002", "call-00001-00000"}
    assert set(stored(endpoint, TASKS, "default", task["task_id"])) == of_task
    assert 3 <= times_asked(provider, "Think during the absence") <= 9


def test_an_effect_whose_outcome_could_not_be_recorded_happened_once_and_is_reported_unknown(absence: Absence) -> None:
    task = absence.delivery
    assert [entry["state"] for entry in task["tool_calls"]] == ["unknown"]
    assert len([file for file in absence.outbox.iterdir() if file.name != "seen"]) == 1
    assert "may or may not have taken effect" in task["result"]


def test_the_turn_of_a_task_that_went_through_an_absence_is_in_its_thread_once(absence: Absence, app: App) -> None:
    page = thread(app, "absence")
    assert [message["role"] for message in page["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert (page["length"], page["busy"]) == (4, None)


def test_a_turn_whose_confirmation_never_came_is_in_the_conversation_once(
    app: App, provider: ScriptedProvider, proxy: FaultProxy
) -> None:
    """The adapter gives up, so that the whole activity runs again."""
    query = provider.plan("Answer me once", [Answer("Once and for all.")])
    with during(proxy, Losses(holds(THREADS, "Once and for all."), REFUSED_AND_DONE)):
        task = run(app, query, thread_id="once")
    assert (task["status"], task["result"]) == ("completed", "Once and for all.")
    page = thread(app, "once")
    assert [message["content"] for message in page["messages"]] == [query, "Once and for all."]
    assert page["busy"] is None


def test_a_follower_whose_stream_the_store_broke_resumes_and_misses_nothing(
    app: App, provider: ScriptedProvider, proxy: FaultProxy, tmp_path: Path
) -> None:
    query = provider.plan("Leave a trace to follow", [effects(1, tmp_path), Answer("Followed.")])
    path = f"/agent/task/{app.start(query, agent='courier')['task_id']}/events"
    text = ""
    with app.client.stream("GET", path) as broken:
        chunks = broken.iter_text()
        while "\n\nid: " not in text:
            text += next(chunks)
        # Others may still follow tasks of tests before this one.
        with during(proxy, Losses(feed, *[REFUSED] * 10)), pytest.raises(httpx.RemoteProtocolError):
            for chunk in chunks:
                text += chunk
    told = events(httpx.Response(200, text=text))
    assert told[-1][1] != "done"
    told += events(app.client.get(path, headers={"Last-Event-ID": told[-1][0]}))
    assert told[-1][2]["result"] == "Followed."
    assert [data["step"] for _, name, data in told if name == "step"] == [1, 2]


def test_a_follower_whose_stream_broke_between_events_written_together_misses_none(
    app: App, provider: ScriptedProvider
) -> None:
    """Calls that cannot be run are recorded with their outcome in one batch, and never written again."""
    calls = tuple(call("no_such_tool", number) for number in range(3))
    task = app.run(provider.plan("Ask for what is not there", [Answer(calls=calls), Answer("None.")]))
    path = f"/agent/task/{task['task_id']}/events"
    fields = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in app.client.get(path).text.split("\n\n")
    ]
    told = [field for field in fields if "event" in field]
    cursor = ""
    for position, field in enumerate(told):
        # As a browser does: an event without an id leaves the last one standing.
        cursor = field.get("id", cursor)
        resumed = app.client.get(path, headers={"Last-Event-ID": cursor} if cursor else {}).text
        assert all(later["data"] in resumed for later in told[position + 1 :])
