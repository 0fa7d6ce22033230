"""The test doubles themselves: a double that lets a mistake pass makes every test that uses it worthless."""

import asyncio
from typing import Any

import httpx
import pytest

from perdure.domain.messages import Message, ModelReply, Usage
from perdure.models.port import ModelRequest, ModelUnavailable
from tests.openai_server import Answer, Failure, OpenAIServer, Reply
from tests.scripted_model import ModelStep, ScriptedModel

HI = ModelReply("hi", (), Usage(), "scripted")
HELLO = ModelRequest("m", [Message("user", "Hello there")])
KEY = {"Authorization": "Bearer k"}
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def test_a_script_answers_its_steps_in_order() -> None:
    with ScriptedModel([ModelStep("Hello", HI), ModelStep(lambda asked: asked.model == "m", HI)]) as model:
        asyncio.run(model.reply(HELLO))
        assert asyncio.run(model.reply(HELLO)) == HI


def test_a_script_raises_a_steps_exception() -> None:
    model = ScriptedModel([ModelStep("", ModelUnavailable("later", 3.0))])
    with pytest.raises(ModelUnavailable):
        asyncio.run(model.reply(HELLO))


def test_a_script_streams_its_text() -> None:
    pieces: list[str] = []

    async def take(text: str) -> None:
        pieces.append(text)

    asyncio.run(ScriptedModel([ModelStep("", HI)]).reply(HELLO, take))
    assert pieces == ["hi"]


@pytest.mark.parametrize("expects", ["Goodbye", lambda asked: asked.model == "other"])
def test_a_request_the_step_does_not_expect_fails_and_is_shown(expects: Any) -> None:
    with pytest.raises(AssertionError, match="Hello there"):
        asyncio.run(ScriptedModel([ModelStep(expects, HI)]).reply(HELLO))


def test_a_request_beyond_the_script_fails_and_is_shown() -> None:
    with pytest.raises(AssertionError, match="Hello there"):
        asyncio.run(ScriptedModel([]).reply(HELLO))


def test_an_unused_step_fails() -> None:
    with pytest.raises(AssertionError, match="not used"), ScriptedModel([ModelStep("x", HI)]):
        pass


def test_an_unused_step_does_not_hide_the_error_before_it() -> None:
    with pytest.raises(ZeroDivisionError), ScriptedModel([ModelStep("x", HI)]):
        raise ZeroDivisionError


def test_an_unused_step_of_the_server_fails() -> None:
    with pytest.raises(AssertionError, match="not used"), OpenAIServer([Answer("hi")]):
        pass


def test_a_request_beyond_the_servers_script_is_refused_and_reported() -> None:
    with pytest.raises(AssertionError, match="not in the script"), OpenAIServer([]) as server:
        assert httpx.post(f"{server.base_url}/chat/completions", json=BODY, headers=KEY).status_code == 400


@pytest.mark.parametrize(
    "change",
    [
        {"messages": []},
        {"tools": []},
        {"model": ""},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "none"}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]}]},
    ],
)
def test_a_request_against_the_protocol_is_refused_and_reported(change: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="breaks the protocol"), OpenAIServer([]) as server:
        assert httpx.post(f"{server.base_url}/chat/completions", json=BODY | change, headers=KEY).status_code == 400


def test_a_request_without_credentials_is_reported() -> None:
    with pytest.raises(AssertionError, match="no credentials"), OpenAIServer([]) as server:
        httpx.post(f"{server.base_url}/chat/completions", json=BODY)


def test_a_function_answers_any_number_of_requests_from_what_they_ask() -> None:
    def decide(asked: dict[str, Any]) -> Reply:
        return Answer(asked["messages"][-1]["content"].upper())

    with OpenAIServer(decide) as server:
        for _ in range(2):
            body = httpx.post(f"{server.base_url}/chat/completions", json=BODY, headers=KEY).json()
            assert body["choices"][0]["message"]["content"] == "HELLO"


def test_a_failing_function_of_the_script_is_reported() -> None:
    def decide(asked: dict[str, Any]) -> Reply:
        raise KeyError("missing")

    with pytest.raises(AssertionError, match="missing"), OpenAIServer([decide]) as server:
        httpx.post(f"{server.base_url}/chat/completions", json=BODY, headers=KEY)


def test_the_dated_azure_path_needs_its_version() -> None:
    url = "/openai/deployments/gpt/chat/completions"
    with pytest.raises(AssertionError, match="api-version"), OpenAIServer([Failure(500)]) as server:
        httpx.post(server.azure_endpoint + url, json=BODY, headers={"api-key": "k"})
        httpx.post(server.azure_endpoint + url + "?api-version=1", json=BODY, headers={"api-key": "k"})
