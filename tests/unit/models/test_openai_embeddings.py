"""The OpenAI embeddings adapter against a server that speaks the protocol."""

import pytest

from perdure.models.openai_client import OpenAISettings
from perdure.models.openai_embeddings import OpenAIEmbeddings
from perdure.models.port import ModelRejected, ModelUnavailable
from tests.openai_server import Failure, OpenAIServer, Raw, Vectors

pytestmark = pytest.mark.anyio

TWO = Vectors(((1.0, 0.0), (0.0, 1.0)))


def settings(server: OpenAIServer, *, azure: bool = False, version: str | None = None) -> OpenAISettings:
    endpoint = server.azure_endpoint if azure else None
    return OpenAISettings(None if azure else server.base_url, "secret-key", endpoint, version, 5.0)


async def embed(at: OpenAISettings, texts: list[str], dimensions: int = 2) -> list[list[float]]:
    embeddings = OpenAIEmbeddings(at, "embedder", dimensions)
    try:
        return await embeddings.embed(texts)
    finally:
        await embeddings.close()


@pytest.mark.parametrize(
    ("azure", "version", "path"),
    [
        (False, None, "/v1/embeddings"),
        (True, None, "/openai/v1/embeddings"),
        (True, "2024-10-21", "/openai/deployments/embedder/embeddings?api-version=2024-10-21"),
    ],
)
async def test_texts_come_back_as_vectors_in_their_order(azure: bool, version: str | None, path: str) -> None:
    with OpenAIServer([TWO]) as server:
        assert await embed(settings(server, azure=azure, version=version), ["a", "b"]) == [[1.0, 0.0], [0.0, 1.0]]
        assert server.urls == [path]
        assert (server.requests[0]["model"], server.requests[0]["input"]) == ("embedder", ["a", "b"])


async def test_no_texts_need_no_request() -> None:
    with OpenAIServer([]) as server:
        assert await embed(settings(server), []) == []


async def test_a_text_without_words_does_not_spoil_the_others() -> None:
    with OpenAIServer([TWO]) as server:
        assert len(await embed(settings(server), ["a", "  "])) == 2


async def test_vectors_of_another_length_are_refused_with_the_setting_to_change() -> None:
    said = "have 2 dimensions, but PERDURE_EMBEDDING_DIMENSIONS is 1536"
    with OpenAIServer([TWO]) as server, pytest.raises(ModelRejected, match=said):
        await embed(settings(server), ["a", "b"], dimensions=1536)


async def test_too_few_vectors_are_not_taken_for_those_of_other_texts() -> None:
    with OpenAIServer([TWO]) as server, pytest.raises(ModelUnavailable, match="3 texts with 2"):
        await embed(settings(server), ["a", "b", "c"])


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Failure(429, "slow down secret-key", headers={"Retry-After": "7"}), ModelUnavailable),
        (Failure(503), ModelUnavailable),
        (Failure(401), ModelRejected),
        (Failure(404), ModelRejected),
        (Failure(400, "too long"), ModelRejected),
        (Raw("<html>"), ModelUnavailable),
    ],
)
async def test_failures_are_the_ports_own_and_never_show_the_key(
    failure: Failure | Raw, error: type[Exception]
) -> None:
    with OpenAIServer([failure]) as server, pytest.raises(error) as raised:
        await embed(settings(server), ["a"])
    assert "secret-key" not in str(raised.value)
