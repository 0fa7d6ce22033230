"""The HTTP contract apart from the loop: bad input, listing, cancelling, following."""

import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.test_task_loop import call
from tests.app import App, ScriptedProvider, until
from tests.openai_server import Answer, Slow


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], bool(body["title"]), bool(body["detail"])) == (status, True, True)
    return body


def test_every_answer_has_the_security_headers(app: App) -> None:
    url = f"{app.host.url}/api"
    for response in (httpx.get(f"{url}/health"), httpx.get(f"{url}/agents"), app.client.get("/agents")):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert "max-age" in response.headers["Strict-Transport-Security"]
        assert response.headers["Referrer-Policy"] == "no-referrer"
    page = httpx.get(f"{url}/docs")
    assert (page.headers["X-Content-Type-Options"], "'self'" in page.headers["Content-Security-Policy"]) == (
        "nosniff",
        True,
    )
    assert "max-age=3600" in httpx.get(f"{url}/docs/start.js").headers["Cache-Control"]


def test_health_is_open_and_tells_nothing_else(app: App) -> None:
    response = httpx.get(f"{app.host.url}/api/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "down": []})


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "line 1, column 2"),
        (b'{"query": "x",}', 400, "not JSON"),
        (b'{"query": NaN}', 400, "NaN"),
        (b"\xff\xfe", 400, "UTF-8"),
        (b'{"query": "\\ud800"}', 400, "surrogate"),
        (b"[" * 100_000, 400, "nested"),
        (b'{"query": "' + b"x" * 256 * 1024 + b'"}', 413, "262,144 bytes"),
        (b"[]", 422, "object"),
        (b"null", 422, "object"),
        (b"{}", 422, "/query"),
        (b'{"query": ""}', 422, "/query"),
        (b'{"query": "   "}', 422, "/query"),
        (b'{"query": 5}', 422, "/query"),
        (b'{"query": "x", "contxt": {}}', 422, "/contxt"),
        (b'{"query": "x", "context": []}', 422, "/context"),
        (b'{"query": "x", "context": {"a": 1e999}}', 400, "JSON"),
        (b'{"query": "x", "agent": ""}', 422, "/agent"),
        (b'{"query": "x", "agent": "nobody"}', 422, "there are: assistant"),
        (b'{"query": "x", "metadata": {"a": 1}}', 422, "/metadata/a"),
    ],
)
def test_a_bad_task_request_is_told_what_is_wrong(app: App, body: bytes, status: int, said: str) -> None:
    assert said in json.dumps(problem(app.client.post("/agent/task", content=body), status), ensure_ascii=False)


def test_a_great_many_wrong_fields_are_told_briefly(app: App) -> None:
    response = app.client.post("/agent/task", json={f"field_{n}": n for n in range(10_000)})
    assert len(problem(response, 422)["errors"]) == 20
    assert len(response.content) < 5000


def test_every_field_that_is_wrong_is_named(app: App) -> None:
    body = problem(app.client.post("/agent/task", json={"query": 1, "context": 2, "what": 3}), 422)
    assert {error["pointer"] for error in body["errors"]} == {"/query", "/context", "/what"}


@pytest.mark.parametrize("task_id", ["0123456789abcdef0123456789abcdef", "x", "é", "%00", "a" * 3000])
@pytest.mark.parametrize(("method", "action"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel")])
def test_an_unknown_task_is_not_found(app: App, method: str, action: str, task_id: str) -> None:
    problem(app.client.request(method, f"/agent/task/{task_id}{action}"), 404)


def test_another_users_task_looks_like_a_missing_one(app: App, provider: ScriptedProvider) -> None:
    task_id = app.run(provider.plan("Mine", [Answer("Yours?")]))["task_id"]
    stranger = app.client_for(app.make_key("stranger"))
    for method, action in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
        seen = problem(stranger.request(method, f"/agent/task/{task_id}{action}"), 404)
        missing = problem(stranger.request(method, f"/agent/task/{'0' * 32}{action}"), 404)
        assert seen["detail"].replace(task_id, "0" * 32) == missing["detail"]
    assert stranger.get("/agent/task").json()["tasks"] == []


def test_tasks_are_listed_newest_first_in_pages(app: App, provider: ScriptedProvider) -> None:
    client = app.client_for(app.make_key("lister"))
    started: list[str] = []
    for n in range(5):
        query = provider.plan(f"Listed {n}", [Answer("Ok.")])
        started.append(client.post("/agent/task", json={"query": query, "metadata": {"n": str(n)}}).json()["task_id"])
    seen: list[str] = []
    continuation: dict[str, str] = {}
    while True:
        page = client.get("/agent/task", params={"limit": "2", **continuation}).json()
        seen += [task["task_id"] for task in page["tasks"]]
        if page["continuation"] is None:
            break
        continuation = {"continuation": page["continuation"]}
    assert seen == started[::-1]
    for task_id in started:
        until(
            lambda task_id=task_id: client.get(f"/agent/task/{task_id}"), lambda response: response.status_code == 200
        )


@pytest.mark.parametrize("limit", ["0", "-1", "101", "x", "1.5", "", "9" * 5000])
def test_a_bad_limit_is_refused(app: App, limit: str) -> None:
    assert "?limit" in problem(app.client.get("/agent/task", params={"limit": limit}), 422)["detail"]


def test_a_running_task_answers_202_with_what_it_has(app: App, provider: ScriptedProvider) -> None:
    steps = [Answer("Wait a little.", (call("nap", seconds=1.0),)), Answer("Done.")]
    task_id = app.start(provider.plan("Take your time", steps), agent="faulty")["task_id"]
    response = until(lambda: app.client.get(f"/agent/task/{task_id}"), lambda r: bool(r.json()["thoughts"]))
    assert (response.status_code, response.headers["Retry-After"]) == (202, "1")
    body = response.json()
    assert (body["status"], body["result"], body["thoughts"]) == ("processing", None, ["Wait a little."])
    assert app.finish(task_id)["result"] == "Done."


def test_a_cancelled_task_ends_at_once_and_stays_cancelled(app: App, provider: ScriptedProvider) -> None:
    query = provider.plan("Cancel me", [Answer(calls=(call("nap", seconds=30.0),))])
    started = app.start(query, agent="faulty")
    path = f"/agent/task/{started['task_id']}"
    until(lambda: app.client.get(path), lambda response: bool(response.json()["tool_calls"]))
    cancelled = app.client.post(f"{path}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    status = until(lambda: httpx.get(started["statusQueryGetUri"]), lambda r: r.status_code != 202, 10).json()
    assert (status["runtimeStatus"], status["output"]["reason"]) == ("Completed", "cancelled")
    assert status["output"]["detail"] == app.client.get(path).json()["detail"] == "Its owner cancelled it."
    assert app.client.post(f"{path}/cancel").status_code == 200


def test_a_task_that_has_ended_cannot_be_cancelled(app: App, provider: ScriptedProvider) -> None:
    task_id = app.run(provider.plan("Too late to cancel", [Answer("Done.")]))["task_id"]
    assert "ended already" in problem(app.client.post(f"/agent/task/{task_id}/cancel"), 409)["detail"]


def test_no_call_starts_after_its_task_was_cancelled(app: App, provider: ScriptedProvider, tmp_path: Path) -> None:
    """More calls than the host runs at once: those still queued when the task is cancelled are not run."""
    calls = tuple(call("slow_effect", number, folder=str(tmp_path)) for number in range(200))
    started = app.start(provider.plan("Do much", [Answer(calls=calls)]), agent="faulty")
    until(lambda: len(list(tmp_path.iterdir())), lambda effects: effects > 0)
    app.client.post(f"/agent/task/{started['task_id']}/cancel").raise_for_status()
    view = until(
        lambda: app.client.get(f"/agent/task/{started['task_id']}").json(),
        lambda task: not {"prepared", "dispatched"} & {entry["state"] for entry in task["tool_calls"]},
    )
    states = [entry["state"] for entry in view["tool_calls"]]
    assert states.count("committed") == len(list(tmp_path.iterdir())) < 200
    assert {entry["result"] for entry in view["tool_calls"] if entry["state"] == "failed"} == {
        "The task had ended before this call was run, so it was not run."
    }


def test_a_task_cancelled_during_a_model_call_never_runs_the_tools_it_asked_for(
    app: App, provider: ScriptedProvider
) -> None:
    asked = threading.Event()

    def late(_request: dict[str, Any]) -> Slow:
        asked.set()
        return Slow(1.0, Answer(calls=(call("echo", text="too late"),)))

    started = app.start(provider.plan("Cancel me early", [late]), agent="faulty")
    assert asked.wait(30)
    app.client.post(f"/agent/task/{started['task_id']}/cancel").raise_for_status()
    until(lambda: httpx.get(started["statusQueryGetUri"]), lambda r: r.status_code != 202, 10)
    view = until(lambda: app.client.get(f"/agent/task/{started['task_id']}").json(), lambda v: bool(v["tool_calls"]))
    assert [entry["state"] for entry in view["tool_calls"]] == ["prepared"]
    assert view["status"] == "cancelled"


def test_a_task_terminated_at_the_built_in_url_is_told_so(app: App, provider: ScriptedProvider) -> None:
    started = app.start(provider.plan("Terminate me", [Answer(calls=(call("nap", seconds=30.0),))]), agent="faulty")
    path = f"/agent/task/{started['task_id']}"
    until(lambda: app.client.get(path), lambda response: bool(response.json()["tool_calls"]))
    assert httpx.post(started["terminatePostUri"].replace("{text}", "enough")).status_code == 202
    task = app.finish(started["task_id"])
    assert (task["status"], task["reason"]) == ("cancelled", "terminated")


def events(response: httpx.Response) -> list[tuple[str, str, dict[str, Any]]]:
    """The (id, event, data) of a whole stream. Of documents that were written together, only the last has an id."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    for block in response.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
    return found


def test_events_tell_a_task_from_its_start_to_its_end(app: App, provider: ScriptedProvider) -> None:
    steps = [Answer("Looking.", (call("echo", 0, text="a"), call("echo", 1, text="b"))), Answer("Found.")]
    task_id = app.start(provider.plan("Follow me", steps), agent="faulty")["task_id"]
    response = app.client.get(f"/agent/task/{task_id}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.startswith("retry:")
    told = events(response)
    assert [name for _, name, _ in told][-1] == "done"
    assert told[-1][2]["result"] == "Found."
    assert {"text": "Looking.", "step": 1, "tools": ["echo", "echo"]} in [
        data for _, name, data in told if name == "step"
    ]
    settled = [data["result"] for _, name, data in told if name == "tool_call" and data["state"] == "committed"]
    assert sorted(settled) == ["a", "b"]


def test_events_resume_after_the_last_one_seen(app: App, provider: ScriptedProvider) -> None:
    task_id = app.run(provider.plan("Resume me", [Answer(calls=(call("calculate", expression="1+1"),)), Answer("2")]))[
        "task_id"
    ]
    path = f"/agent/task/{task_id}/events"
    whole = events(app.client.get(path))
    for position, (cursor, _, _) in enumerate(whole[:-1]):
        rest = events(app.client.get(path, headers={"Last-Event-ID": cursor}))
        assert rest == whole[position + 1 :]
    assert app.client.get(path, headers={"Last-Event-ID": whole[-1][0]}).status_code == 204


def test_events_of_a_task_terminated_from_outside_end_too(app: App, provider: ScriptedProvider) -> None:
    started = app.start(
        provider.plan("Terminate my stream", [Answer(calls=(call("nap", seconds=6.0),))]), agent="faulty"
    )
    path = f"/agent/task/{started['task_id']}"
    until(lambda: app.client.get(path), lambda response: bool(response.json()["tool_calls"]))
    httpx.post(started["terminatePostUri"].replace("{text}", "enough")).raise_for_status()
    status = started["statusQueryGetUri"]
    until(lambda: httpx.get(status).json()["runtimeStatus"], lambda said: said == "Terminated")
    assert events(app.client.get(f"{path}/events"))[-1][2]["reason"] == "terminated"
    # The tool finishes all the same. Who reconnects is told so, and the stream ends.
    until(lambda: app.client.get(path).json()["tool_calls"][0]["state"], lambda state: state == "committed")
    done = [cursor for cursor, name, _ in events(app.client.get(f"{path}/events")) if name == "done"][-1]
    late = app.client.get(f"{path}/events", headers={"Last-Event-ID": done})
    assert [name for _, name, _ in events(late)] == ["tool_call"]


def test_a_terminated_task_is_listed_as_such(app: App, provider: ScriptedProvider) -> None:
    client = app.client_for(app.make_key("terminator"))
    body = {"query": provider.plan("List me", [Answer(calls=(call("nap", seconds=30.0),))]), "agent": "faulty"}
    started = client.post("/agent/task", json=body).json()
    until(lambda: client.get(f"/agent/task/{started['task_id']}"), lambda response: bool(response.json()["tool_calls"]))
    httpx.post(started["terminatePostUri"].replace("{text}", "enough")).raise_for_status()
    assert [task["reason"] for task in client.get("/agent/task").json()["tasks"]] == ["terminated"]


def test_a_foreign_event_id_is_refused(app: App, provider: ScriptedProvider) -> None:
    task_id = app.run(provider.plan("Follow me wrongly", [Answer("Ok.")]))["task_id"]
    problem(app.client.get(f"/agent/task/{task_id}/events", headers={"Last-Event-ID": "yesterday"}), 400)


def test_a_follower_sees_each_step_while_the_task_still_runs(app: App, provider: ScriptedProvider) -> None:
    steps = [Answer("First.", (call("nap", seconds=1.5),)), Answer("Second.")]
    task_id = app.start(provider.plan("Stream me", steps), agent="faulty")["task_id"]
    with app.client.stream("GET", f"/agent/task/{task_id}/events") as response:
        for line in response.iter_lines():
            if line == "event: step":
                break
        assert app.client.get(f"/agent/task/{task_id}").status_code == 202
    app.finish(task_id)


def test_agents_and_tools_are_listed_as_they_are(app: App) -> None:
    agents = {agent["name"]: agent for agent in app.client.get("/agents").json()["agents"]}
    assert {"assistant", "researcher"} <= set(agents)
    assert [name for name, agent in agents.items() if agent["default"]] == ["assistant"]
    tools = {tool["name"]: tool for tool in app.client.get("/tools").json()["tools"]}
    shipped = {"calculate", "convert_units", "current_time", "fetch_url", "recall", "remember", "search_documents"}
    assert shipped <= set(tools)
    assert tools["calculate"]["parameters"]["required"] == ["expression"]
    assert (tools["dangerous"]["approval"], tools["echo"]["idempotent"]) == ("always", True)
