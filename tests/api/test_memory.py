"""Memory as a caller sees it: documents in, passages out, facts kept between tasks."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.test_http import problem
from tests.api.test_task_loop import call
from tests.app import App, ScriptedProvider, until
from tests.openai_server import Answer

GUIDE = """# Guide

## Retries

A failed call is repeated with exponential back-off.

## Holidays

The office is closed in August.
"""


def finished(url: str) -> dict[str, Any]:
    return until(lambda: httpx.get(url), lambda response: response.status_code != 202).json()


@pytest.fixture
def client(app: App, request: pytest.FixtureRequest) -> httpx.Client:
    """A user with nothing in memory."""
    return app.client_for(app.make_key(request.node.name))


def titles(client: httpx.Client) -> list[str]:
    return sorted(document["title"] for document in client.get("/memory/documents").json()["documents"])


def test_a_document_is_accepted_ingested_found_and_removed(client: httpx.Client) -> None:
    accepted = client.post("/memory/documents", json={"title": "guide", "text": GUIDE})
    assert (accepted.status_code, accepted.headers["Retry-After"]) == (202, "1")
    body = accepted.json()
    assert accepted.headers["Location"] == body["statusQueryGetUri"]
    [document] = body["documents"]
    state = finished(body["statusQueryGetUri"])
    assert state["output"] == {
        "status": "completed", "documents": [{"id": document["id"], "passages": 2}], "failures": [],
    }  # fmt: skip
    assert state["customStatus"] == "published 1/1"
    [listed] = client.get("/memory/documents").json()["documents"]
    assert (listed["id"], listed["title"], listed["passages"]) == (document["id"], "guide", 2)
    found = client.post("/memory/search", json={"query": "How is a failed call repeated?", "limit": 1}).json()
    [passage] = found["passages"]
    assert (passage["document"], passage["heading"]) == ("guide", "Guide > Retries")
    assert (passage["document_id"], GUIDE[passage["start"] : passage["end"]]) == (document["id"], passage["text"])
    assert 0.1 < passage["score"] <= 1
    assert client.delete(f"/memory/documents/{document['id']}").status_code == 204
    problem(client.delete(f"/memory/documents/{document['id']}"), 404)
    assert client.get("/memory/documents").json() == {"documents": [], "continuation": None}
    assert client.post("/memory/search", json={"query": "failed call"}).json() == {"passages": []}


def test_the_same_content_is_the_same_ingestion_and_is_not_done_twice(client: httpx.Client) -> None:
    body = {"title": "guide", "text": GUIDE}
    first, second = client.post("/memory/documents", json=body), client.post("/memory/documents", json=body)
    assert (first.status_code, second.json()["ingestion_id"]) == (202, first.json()["ingestion_id"])
    finished(first.json()["statusQueryGetUri"])
    again = client.post("/memory/documents", json=body)
    assert (again.status_code, again.json()["status"]) == (200, "completed")
    assert again.json()["documents"][0]["passages"] == 2
    assert titles(client) == ["guide"]


def test_many_equal_requests_at_once_are_one_ingestion(client: httpx.Client) -> None:
    body = {"title": "guide", "text": GUIDE}
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: client.post("/memory/documents", json=body), range(12)))
    assert {answer.status_code for answer in answers} <= {200, 202}, [answer.text for answer in answers]
    [ingestion] = {answer.json()["ingestion_id"] for answer in answers}
    [url, *_] = [answer.json()["statusQueryGetUri"] for answer in answers if answer.status_code == 202]
    assert ingestion in url
    assert finished(url)["output"]["status"] == "completed"
    assert titles(client) == ["guide"]
    assert len(client.post("/memory/search", json={"query": "office August call", "limit": 50}).json()["passages"]) == 2


def test_a_removed_document_can_be_loaded_again(client: httpx.Client) -> None:
    body = {"title": "guide", "text": GUIDE}
    for _ in range(2):
        accepted = client.post("/memory/documents", json=body)
        assert accepted.status_code == 202
        assert finished(accepted.json()["statusQueryGetUri"])["output"]["status"] == "completed"
        document = accepted.json()["documents"][0]["id"]
        assert client.post("/memory/search", json={"query": "August"}).json()["passages"]
        assert client.delete(f"/memory/documents/{document}").status_code == 204


def test_a_batch_keeps_what_it_can(client: httpx.Client) -> None:
    crumbs = "# a\nb\n" * 20_001
    documents = [
        {"title": "guide", "text": GUIDE},
        {"title": "crumbs", "text": crumbs},
        {"title": "guide", "text": GUIDE},
    ]
    accepted = client.post("/memory/documents", json={"documents": documents}).json()
    assert [document["title"] for document in accepted["documents"]] == ["guide", "crumbs"]
    output = finished(accepted["statusQueryGetUri"])["output"]
    assert (output["status"], len(output["documents"])) == ("failed", 1)
    assert "more than 20,000 passages" in output["failures"][0]["detail"]
    assert titles(client) == ["guide"]


def test_five_megabytes_are_ingested_with_progress_and_without_passing_through_history(client: httpx.Client) -> None:
    text = "".join(f"## Part {n}\n\nPassage {n} is about subject{n}.\n{'and so on ' * 160}\n" for n in range(3100))
    assert 4_800_000 < len(text) < 5 * 1024 * 1024
    accepted = client.post("/memory/documents", json={"title": "long", "text": text}).json()
    url = accepted["statusQueryGetUri"]
    shown: set[str] = set()

    def look() -> httpx.Response:
        response = httpx.get(url)
        shown.add(str(response.json()["customStatus"]))
        return response

    state = until(look, lambda response: response.status_code != 202, 110).json()
    assert (state["output"]["status"], state["output"]["documents"][0]["passages"] >= 3100) == ("completed", True)
    assert any(status.startswith("embedding ") for status in shown), shown
    whole = {"showHistory": "true", "showHistoryOutput": "true", "showInput": "true"}
    history = httpx.get(url, params={**httpx.URL(url).params, **whole}, timeout=30).json()
    assert "and so on" not in json.dumps(history)
    [best, *_] = client.post("/memory/search", json={"query": "subject2718"}).json()["passages"]
    assert best["heading"] == "Part 2718"
    assert client.delete(f"/memory/documents/{accepted['documents'][0]['id']}").status_code == 204
    assert client.post("/memory/search", json={"query": "subject2718"}).json() == {"passages": []}


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b'{"title": "x"}', 422, "/text"),
        (b'{"text": "x"}', 422, "/title"),
        (b"{" + b"".join(b'"%x":1,' % n for n in range(400_000)) + b'"title":"x","text":"y"}', 422, "400,000 things"),
        (b"{}", 422, "/title"),
        (b'{"title": "x", "text": "y", "documents": null}', 422, "/documents"),
        (b'{"title": "", "text": "x"}', 422, "/title"),
        (b'{"title": "x", "text": ""}', 422, "/text"),
        (b'{"title": "x", "text": " \\n"}', 422, "/text"),
        (b'{"title": "x", "text": "y", "z": 1}', 422, "/z"),
        (b'{"title": "x", "text": "y", "documents": []}', 422, "/documents"),
        (b'{"title": "x", "text": "y", "documents": [{"title": "x", "text": "y"}]}', 422, "/title"),
        (b'{"documents": []}', 422, "/documents"),
        (b'{"documents": [{"title": "x", "text": "y"}, {"title": "x"}]}', 422, "/documents/1/text"),
        (b'{"documents": [' + b'{"title": "x", "text": "y"},' * 100 + b'{"title": "x", "text": "y"}]}', 422, "100"),
        (b'{"title": "x", "text": "\xff"}', 400, "UTF-8"),
        (b'{"title": "x", "text": "\\ud800"}', 400, "surrogate"),
        (b'{"title": "x", "text": "' + b"y" * (5 * 1024 * 1024 + 1) + b'"}', 422, "5242880"),
        (b'{"title": "x", "text": "' + "é".encode() * (5 * 512 * 1024 + 1) + b'"}', 422, "5242880"),
        (b'{"title": "x", "text": "' + b"y" * 6 * 1024 * 1024 + b'"}', 413, "6,291,456 bytes"),
    ],
)  # fmt: skip
def test_a_bad_load_is_told_what_is_wrong(app: App, content: bytes, status: int, said: str) -> None:
    assert said in json.dumps(problem(app.client.post("/memory/documents", content=content), status))


@pytest.mark.parametrize(
    "body", [{}, {"query": " "}, {"query": "x", "limit": 0}, {"query": "x", "limit": 51}, {"q": 1}, {"query": 5}]
)
def test_a_bad_search_is_refused(app: App, body: dict[str, Any]) -> None:
    problem(app.client.post("/memory/search", json=body), 422)


@pytest.mark.parametrize("document", ["x", "a%2Fb", "a%5Cb", "a%3Fb", "a%23b", "%00", "é", "0" * 24, "a" * 3000])
def test_an_odd_id_is_a_missing_document(app: App, document: str) -> None:
    # An encoded slash is a path that no route has, to the host.
    assert app.client.delete(f"/memory/documents/{document}").status_code == 404


def test_documents_are_listed_in_pages(client: httpx.Client) -> None:
    documents = [{"title": str(n), "text": f"Text {n}."} for n in range(5)]
    finished(client.post("/memory/documents", json={"documents": documents}).json()["statusQueryGetUri"])
    seen: list[str] = []
    continuation: dict[str, str] = {}
    while True:
        page = client.get("/memory/documents", params={"limit": "2", **continuation}).json()
        seen += [document["title"] for document in page["documents"]]
        if page["continuation"] is None:
            break
        continuation = {"continuation": page["continuation"]}
    assert sorted(seen) == ["0", "1", "2", "3", "4"]


def test_a_loaded_document_is_found_by_its_owners_agents_only(app: App, provider: ScriptedProvider) -> None:
    [loaded] = app.load(("guide", GUIDE))["documents"]
    search = call("search_documents", query="How is a failed call repeated?")
    task = app.run(provider.plan("Search my guide", [Answer(calls=(search,)), Answer("Ok.")]))
    [found] = json.loads(task["tool_calls"][0]["result"])["passages"][:1]
    assert (found["document"], found["heading"]) == ("guide", "Guide > Retries")
    assert GUIDE[found["start"] : found["end"]] == found["text"]

    stranger = app.client_for(app.make_key("searcher"))
    query = provider.plan("Search their guide", [Answer(calls=(search,)), Answer("Ok.")])
    task_id = stranger.post("/agent/task", json={"query": query}).json()["task_id"]
    theirs = until(lambda: stranger.get(f"/agent/task/{task_id}"), lambda r: r.status_code == 200).json()
    assert "exponential" not in theirs["tool_calls"][0]["result"]
    assert stranger.post("/memory/search", json={"query": "failed call"}).json() == {"passages": []}
    problem(stranger.delete(f"/memory/documents/{loaded['id']}"), 404)
    assert app.client.delete(f"/memory/documents/{loaded['id']}").status_code == 204


def test_a_fact_remembered_in_one_task_is_recalled_in_the_next(app: App, provider: ScriptedProvider) -> None:
    remember = call("remember", fact="Prefers metric units.")
    app.run(provider.plan("Remember my units", [Answer(calls=(remember,)), Answer("Ok.")]))
    recall = call("recall", query="units")
    task = app.run(provider.plan("Recall my units", [Answer(calls=(recall,)), Answer("Metric.")]))
    assert json.loads(task["tool_calls"][0]["result"])["facts"][0]["fact"] == "Prefers metric units."
