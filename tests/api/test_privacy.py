"""Exporting and erasing what is kept of a user or a conversation."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.test_http import problem
from tests.api.test_task_loop import call
from tests.app import App, ScriptedProvider, make_app_folder, until
from tests.devhost_process import REPOSITORY
from tests.openai_server import Answer

SECRET = "xylophone"
"""In everything that one of the users here says, and that anybody says to them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tools = [REPOSITORY / "tests" / "fault_tools.py"]
    agent = (
        "name: keeper\ndescription: Keeps.\ninstructions: Keep.\n"
        "tools: [remember, text_statistics, nap, calculate, send_email]\napproval: {send_email: never}\n"
    )
    return make_app_folder(tmp_path_factory.mktemp("private") / "app", tools, {"keeper": agent})


@pytest.fixture(scope="module")
def app(folder: Path, provider: ScriptedProvider) -> Iterator[App]:
    with App(folder, {"OPENAI_BASE_URL": provider.server.base_url, "PERDURE_MODEL": "scripted"}) as app:
        yield app


def tell(app: App, provider: ScriptedProvider, client: httpx.Client, query: str, **fields: Any) -> dict[str, Any]:
    """A task that leaves traces wherever a task can: with tools, a fact, and an answer."""
    keep = Answer(
        text=f"Thinking of a {SECRET}.",
        calls=(
            call("remember", fact=f"{query} plays the {SECRET}."),
            call("text_statistics", text=f"a {SECRET} {query}"),
            call("send_email", to=["ann@example.com"], subject=f"A {SECRET}", body=f"I bought a {SECRET}."),
        ),
    )
    provider.plan(query, [keep, Answer(f"The {SECRET} is noted.")])
    body = {"query": query, "agent": "keeper", "context": {"of": SECRET}, "metadata": {"about": SECRET}, **fields}
    started = client.post("/agent/task", json=body).raise_for_status().json()
    until(lambda: client.get(f"/agent/task/{started['task_id']}"), lambda r: r.status_code == 200)
    return started


def load(client: httpx.Client, title: str, text: str) -> dict[str, Any]:
    started = client.post("/memory/documents", json={"title": title, "text": text}).raise_for_status().json()
    until(lambda: client.get(started["statusQueryGetUri"]), lambda r: r.status_code == 200)
    return started


def traces(folder: Path, text: str) -> int:
    """How often a text is in the file of the state, with what is deleted and not yet overwritten."""
    path = folder / ".perdure" / "state.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute("VACUUM")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return sum(file.read_bytes().count(text.encode()) for file in path.parent.iterdir() if file.is_file())


def test_an_erased_user_leaves_no_trace_and_others_stay(app: App, folder: Path, provider: ScriptedProvider) -> None:
    ann, bob = app.client_for(app.make_key("ann")), app.client_for(app.make_key("bob"))
    started = [tell(app, provider, ann, f"{SECRET} {n}", thread_id=f"about-{n}") for n in range(3)]
    started.append(load(ann, f"The {SECRET}", f"# {SECRET}\n\nA {SECRET} has bars of wood."))
    provider.plan("Of bob", [Answer("Bob stays.")])
    kept = bob.post("/agent/task", json={"query": "Of bob", "thread_id": "about-1"}).json()
    until(lambda: bob.get(f"/agent/task/{kept['task_id']}"), lambda r: r.status_code == 200)
    assert traces(folder, SECRET) > 20

    receipt = app.client.delete("/users/ann")
    assert receipt.status_code == 200, receipt.text
    removed = receipt.json()["removed"]
    expected = {"task": 3, "step": 6, "toolCall": 9, "thread": 3, "message": 18, "email": 3}
    assert (expected | {"document": 1, "chunk": 1, "fact": 3}).items() <= removed.items()
    assert (removed["history"], removed["apiKey"], receipt.json()["status"]) == (4, 1, "completed")
    problem(ann.get("/agent/task"), 401)
    assert traces(folder, SECRET) == 0
    for operation in started:
        assert httpx.get(operation["statusQueryGetUri"]).status_code == 404
    assert bob.get(f"/agent/task/{kept['task_id']}").json()["result"] == "Bob stays."
    assert bob.get("/agent/threads/about-1").json()["length"] == 2
    again = app.client.get(f"/erasures/{receipt.json()['erasure_id']}")
    assert again.json() == receipt.json()
    assert app.client.delete("/users/ann").json()["removed"] == {}


def test_an_erased_conversation_leaves_no_trace_and_the_rest_of_its_user_stays(
    app: App, folder: Path, provider: ScriptedProvider
) -> None:
    carl = app.client_for(app.make_key("carl", "task:run", "task:read", "memory:write"))
    tell(app, provider, carl, "carl tells", thread_id="secret-talk")
    load(carl, "Public", "Nothing of it.")
    assert traces(folder, SECRET) > 5
    receipt = carl.delete("/agent/threads/secret-talk")
    assert (receipt.status_code, receipt.json()["thread_id"]) == (200, "secret-talk")
    assert traces(folder, SECRET) == 0
    assert carl.get("/agent/task").json()["tasks"] == []
    assert [document["title"] for document in carl.get("/memory/documents").json()["documents"]] == ["Public"]
    problem(carl.delete("/agent/threads/secret-talk"), 404)
    problem(carl.get("/agent/threads/secret-talk"), 404)


def test_what_runs_is_ended_and_looked_through_again(app: App, folder: Path, provider: ScriptedProvider) -> None:
    dora = app.client_for(app.make_key("dora"))
    asked = threading.Event()

    def late(_: dict[str, Any]) -> Answer:
        asked.set()
        assert erased.wait(30)
        return Answer(f"A late {SECRET}.")

    erased = threading.Event()
    provider.plan("dora waits", [late])
    started = dora.post("/agent/task", json={"query": "dora waits", "thread_id": "late"}).json()
    assert asked.wait(30)
    receipt = app.client.delete("/users/dora")
    assert (receipt.status_code, receipt.json()["status"]) == (202, "running")
    assert httpx.get(started["statusQueryGetUri"]).status_code == 404
    erased.set()
    # The answer came after everything was deleted, and was written down: that is what the second look is for.
    until(lambda: traces(folder, f"A late {SECRET}."), bool)
    with closing(sqlite3.connect(folder / ".perdure" / "state.db", timeout=30)) as database, database:
        row = "WHERE body LIKE '%settles_at%' AND body LIKE '%dora%'"
        [(body,)] = database.execute(f"SELECT body FROM documents {row}").fetchall()
        past = json.dumps({**json.loads(body), "settles_at": "2026-01-01T00:00:00Z"}, separators=(",", ":"))
        database.execute(f"UPDATE documents SET body = ? {row}", (past,))
    httpx.post(f"{app.host.url}/admin/functions/finish_erasures", json={}).raise_for_status()
    path = receipt.headers["Location"].removeprefix("/api")
    view = until(lambda: app.client.get(path).json(), lambda view: view["status"] == "completed")
    assert view["removed"]["step"] == 1
    assert traces(folder, SECRET) == 0


def test_a_users_data_is_exported_as_json_lines(app: App, provider: ScriptedProvider) -> None:
    client = app.client_for(app.make_key("erin"))
    tell(app, provider, client, "erin tells", thread_id="erins")
    load(client, "Erin's", "Erin's text.")
    response = app.client.get("/users/erin/export")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in response.text.splitlines()]
    kinds = {line["document"]["type"] for line in lines}
    assert {"task", "step", "toolCall", "thread", "message", "document", "chunk", "fact", "apiKey"} <= kinds
    assert all(not {"embedding", "hash", "salt"} & set(line["document"]) for line in lines)
    assert "erin tells" in response.text
    assert app.client.get("/users/nobody/export").text == ""


@pytest.mark.parametrize("user", ["%00", "%20", "%C3%BC", "a%0A", "x" * 201, "x" * 5000])
def test_whom_nobody_can_be_called_is_neither_erased_nor_exported(app: App, user: str) -> None:
    problem(app.client.delete(f"/users/{user}"), 404)
    problem(app.client.get(f"/users/{user}/export"), 404)


def test_erasing_and_exporting_users_is_for_administrators(app: App) -> None:
    client = app.client_for(app.make_key("finn", "task:run", "task:read", "memory:write", "approve"))
    problem(client.delete("/users/finn"), 403)
    problem(client.get("/users/finn/export"), 403)
    problem(app.client.get("/erasures/nothing"), 404)
