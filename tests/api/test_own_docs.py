"""This repository's own documents, loaded over HTTP and asked about; the offline planner answers."""

import json
from collections.abc import Iterator

import pytest

from tests.app import App, make_app_folder
from tests.devhost_process import REPOSITORY

DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with App(make_app_folder(tmp_path_factory.mktemp("library"))) as app:
        texts = [(str(path.relative_to(REPOSITORY)), path.read_text("utf-8")) for path in DOCUMENTS]
        output = app.load(*texts)
        assert (output["status"], len(output["documents"])) == ("completed", len(DOCUMENTS))
        yield app


@pytest.mark.parametrize(
    ("question", "document", "heading"),
    [
        (
            "What do the documents say about the effect ledger of a tool call?",
            "docs/architecture.md",
            "How a task runs > The effect ledger",
        ),
        (
            "Search the documents for API keys and random bits",
            "docs/api.md",
            "The HTTP API > Who calls",
        ),
        (
            "Search my documents for Azurite ports and func start",
            "docs/core-tools.md",
            "The same app under Core Tools",
        ),
    ],
)
def test_an_answer_cites_the_right_passage(library: App, question: str, document: str, heading: str) -> None:
    task = library.run(question)
    [call] = task["tool_calls"]
    assert call["tool"] == "search_documents"
    # The task shows the call's result cut short; the same search shows all of it.
    search = {"query": json.loads(call["input"])["query"], "limit": 5}
    [best, *_] = library.client.post("/memory/search", json=search).json()["passages"]
    assert (best["document"], best["heading"]) == (document, heading)
    text = (REPOSITORY / document).read_text("utf-8")
    assert text[best["start"] : best["end"]] == best["text"]
    assert f"document: {document}, heading: {heading}, text: " in task["result"]


def test_the_coordinator_has_the_researcher_find_it(library: App) -> None:
    task = library.run("Ask the researcher about the effect ledger of a tool call", agent="coordinator")
    [call] = task["tool_calls"]
    assert (call["tool"], call["state"]) == ("ask_researcher", "committed")
    asked = library.client.get(f"/agent/task/{call['task_id']}").raise_for_status().json()
    assert (asked["agent"], asked["result"]) == ("researcher", call["result"])
    assert task["status"] == "completed"
