"""Memory with embeddings from an endpoint, and what happens when the model is changed afterwards."""

from pathlib import Path
from typing import Any

import httpx

from tests.api.test_http import problem
from tests.app import App, make_app_folder, until
from tests.openai_server import Failure, OpenAIServer, Reply, Vectors

TEXT = "# Cats\n\nA cat purrs.\n\n# Dogs\n\nA dog barks.\n"


class Embedder:
    """Embeds by animal. It fails once before it answers."""

    def __init__(self) -> None:
        self.failures = [Failure(503, "overloaded")]

    def __call__(self, asked: dict[str, Any]) -> Reply:
        if self.failures:
            return self.failures.pop()
        return Vectors(tuple((1.0, 0.0, 0.1) if "cat" in text.lower() else (0.0, 1.0, 0.1) for text in asked["input"]))


def test_documents_are_embedded_at_the_endpoint_and_another_model_is_refused(tmp_path: Path) -> None:
    folder = make_app_folder(tmp_path)
    state = {"PERDURE_STATE": f"sqlite:{tmp_path / 'state.db'}"}
    with OpenAIServer(Embedder()) as server:
        endpoint = {"OPENAI_BASE_URL": server.base_url}
        model = {"PERDURE_EMBEDDING_MODEL": "animals", "PERDURE_EMBEDDING_DIMENSIONS": "3"}
        with App(folder, {**state, **endpoint, **model}) as app:
            assert app.load(("pets", TEXT))["status"] == "completed"
            [best, *_] = app.client.post("/memory/search", json={"query": "my cat"}).json()["passages"]
            assert (best["heading"], best["score"]) == ("Cats", 1.0)
            assert len(server.requests) == 3
            assert httpx.get(f"{app.host.url}/api/health").status_code == 200
    with App(folder, state) as app:
        for response in (
            app.client.post("/memory/search", json={"query": "my cat"}),
            app.client.post("/memory/documents", json={"title": "x", "text": "y"}),
            httpx.get(f"{app.host.url}/api/health"),
        ):
            detail = problem(response, 500)["detail"]
            assert "animals with 3 dimensions" in detail
            assert "PERDURE_EMBEDDING_MODEL" in detail
        # What needs no vectors goes on.
        assert [one["title"] for one in app.client.get("/memory/documents").json()["documents"]] == ["pets"]
        until(lambda: app.host.output, lambda output: "embedded by animals" in output, 10)
