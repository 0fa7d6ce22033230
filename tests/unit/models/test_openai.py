"""The OpenAI adapter through the real SDK, over the wire, against a scripted server."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from perdure.domain.messages import Message, ModelReply, ToolCall, ToolSpec, Usage
from perdure.models.openai import OpenAIModel, OpenAISettings
from perdure.models.port import ModelRequest
from tests.openai_server import MODEL, Answer, Call, Events, OpenAIServer, Raw, chunk

KEY = "sk-secret-key"
HELLO = ModelRequest("gpt-test", [Message("system", "Be brief."), Message("user", "Hello")])
ADD = ToolSpec("add", "Add two numbers.", {"type": "object", "properties": {"a": {"type": "number"}}})


def at(server: OpenAIServer, *, api_key: str | None = KEY, timeout: float = 5.0) -> OpenAISettings:
    return OpenAISettings(server.base_url, api_key, None, None, timeout)


def ask(settings: OpenAISettings, request: ModelRequest = HELLO) -> ModelReply:
    async def run() -> ModelReply:
        model = OpenAIModel(settings)
        try:
            return await model.reply(request)
        finally:
            await model.close()

    return asyncio.run(run())


def stream(settings: OpenAISettings, request: ModelRequest = HELLO) -> tuple[ModelReply, list[str]]:
    pieces: list[str] = []

    async def take(text: str) -> None:
        pieces.append(text)

    async def run() -> ModelReply:
        model = OpenAIModel(settings)
        try:
            return await model.reply(request, take)
        finally:
            await model.close()

    return asyncio.run(run()), pieces


# --- settings and start ---


def test_importing_the_adapter_imports_neither_openai_nor_azure() -> None:
    code = "import sys, perdure.models.openai; print([m for m in ('openai', 'azure', 'httpx2') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_settings_without_any_way_in_are_refused() -> None:
    with pytest.raises(ValueError, match="api_key"):
        OpenAISettings(None, None, None, None, 5.0)


def test_settings_with_two_endpoints_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        OpenAISettings("http://a", KEY, "http://b", None, 5.0)


def test_settings_with_an_address_that_is_none_are_refused() -> None:
    with pytest.raises(ValueError, match="https://"):
        OpenAISettings("localhost:8080", None, None, None, 5.0)


def test_printed_settings_do_not_show_the_key() -> None:
    assert KEY not in repr(OpenAISettings(None, KEY, None, None, 5.0))


def test_concurrent_first_replies_share_one_client() -> None:
    async def run(settings: OpenAISettings) -> set[int]:
        model = OpenAIModel(settings)
        clients: set[int] = set()

        async def one() -> None:
            await model.reply(HELLO)
            clients.add(id(model._client))

        await asyncio.gather(*(one() for _ in range(5)))
        await model.close()
        return clients

    with OpenAIServer([Answer("hi")] * 5) as server:
        assert len(asyncio.run(run(at(server)))) == 1


def test_closing_a_model_that_was_never_used_is_fine() -> None:
    asyncio.run(OpenAIModel(OpenAISettings(None, KEY, None, None, 5.0)).close())


# --- the three ways in ---


def test_a_compatible_endpoint_gets_the_key() -> None:
    with OpenAIServer([Answer("hi")]) as server:
        ask(at(server))
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


# --- what is asked ---


def test_the_conversation_is_sent_in_the_protocols_words() -> None:
    call = ToolCall("call_1", "add", '{"a": 1}')
    messages = [
        Message("system", "Be brief."),
        Message("user", "Add"),
        Message("assistant", "", (call,)),
        Message("tool", "2", tool_call_id="call_1"),
    ]
    with OpenAIServer([Answer("2")]) as server:
        ask(at(server), ModelRequest("gpt-test", messages, [ADD]))
    assert server.requests[0] == {
        "model": "gpt-test",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Add"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
                ],
            },
            {"role": "tool", "content": "2", "tool_call_id": "call_1"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "add", "description": ADD.description, "parameters": ADD.parameters},
            }
        ],
        "stream": False,
    }


def test_without_tools_none_are_mentioned() -> None:
    with OpenAIServer([Answer("hi")]) as server:
        ask(at(server))
    assert "tools" not in server.requests[0]


def test_a_stream_asks_for_usage() -> None:
    with OpenAIServer([Answer("hi")]) as server:
        stream(at(server))
    assert server.requests[0]["stream_options"] == {"include_usage": True}


# --- plain replies ---


def test_a_plain_reply_is_text_usage_and_the_answering_model() -> None:
    with OpenAIServer([Answer("Hello there", usage=(11, 3))]) as server:
        assert ask(at(server)) == ModelReply("Hello there", (), Usage(11, 3), MODEL)


def test_tool_calls_come_with_the_text_beside_them() -> None:
    calls = (Call("add", '{"a": 1}', "x"), Call("add", '{"a": 2}', "y"))
    with OpenAIServer([Answer("Adding.", calls)]) as server:
        reply = ask(at(server))
    assert reply.text == "Adding."
    assert reply.tool_calls == (ToolCall("x", "add", '{"a": 1}'), ToolCall("y", "add", '{"a": 2}'))


def test_malformed_arguments_are_kept_as_the_model_wrote_them() -> None:
    with OpenAIServer([Answer(calls=(Call("add", '{"a": 1,,'),), finish_reason="length")]) as server:
        assert ask(at(server)).tool_calls[0].arguments == '{"a": 1,,'


def test_missing_and_repeated_call_ids_become_distinct() -> None:
    calls = tuple(Call("add", "{}", call_id) for call_id in ("same", "same", None, "call_2"))
    with OpenAIServer([Answer(calls=calls)]) as server:
        reply = ask(at(server))
    assert [call.id for call in reply.tool_calls] == ["same", "call_1", "call_2_", "call_2"]


def test_a_refusal_is_the_text_of_a_reply_without_content() -> None:
    with OpenAIServer([Answer(refusal="I cannot help with that.")]) as server:
        assert ask(at(server)).text == "I cannot help with that."


def test_an_empty_reply_is_returned_as_it_is() -> None:
    with OpenAIServer([Answer()]) as server:
        assert ask(at(server)) == ModelReply("", (), Usage(7, 5), MODEL)


def test_content_in_parts_is_joined() -> None:
    message = {"role": "assistant", "content": [{"type": "text", "text": "He"}, {"type": "text", "text": "llo"}]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    with OpenAIServer([Raw(json.dumps(body))]) as server:
        assert ask(at(server)) == ModelReply("Hello", (), Usage(), "gpt-test")


# --- streamed replies ---


def test_text_streams_in_pieces_and_the_reply_is_their_sum() -> None:
    with OpenAIServer([Answer("Hello, wörld 🌍 and\u2028more", usage=(9, 4))]) as server:
        reply, pieces = stream(at(server))
    assert reply == ModelReply("Hello, wörld 🌍 and\u2028more", (), Usage(9, 4), MODEL)
    assert len(pieces) > 3
    assert "".join(pieces) == reply.text


def test_streamed_tool_calls_are_put_together_from_single_characters() -> None:
    calls = (Call("add", '{"a": "ü\\n"}', "x"), Call("sub", '{"a": [2, {}]}', "y"))
    with OpenAIServer([Answer("Both.", calls, piece=1)]) as server:
        reply, pieces = stream(at(server))
    assert "".join(pieces) == "Both."
    assert reply.tool_calls == (ToolCall("x", "add", '{"a": "ü\\n"}'), ToolCall("y", "sub", '{"a": [2, {}]}'))


def tool_delta(index: int | None, arguments: str, **named: str) -> str:
    function = {"arguments": arguments} | ({"name": named["name"]} if "name" in named else {})
    piece = {"function": function} | ({"id": named["id"]} if "id" in named else {})
    return chunk({"tool_calls": [piece if index is None else {"index": index, **piece}]})


def test_interleaved_deltas_are_told_apart_by_index() -> None:
    data = (
        tool_delta(0, '{"a"', id="x", name="add"),
        tool_delta(1, '{"b"', id="y", name="sub"),
        tool_delta(0, ": 1}"),
        tool_delta(1, ": 2}"),
        chunk({}, "tool_calls"),
        "[DONE]",
    )
    with OpenAIServer([Events(data)]) as server:
        reply, _ = stream(at(server))
    assert reply.tool_calls == (ToolCall("x", "add", '{"a": 1}'), ToolCall("y", "sub", '{"b": 2}'))


@pytest.mark.parametrize("index", [0, None])
def test_calls_that_all_have_one_index_are_told_apart_by_id_and_name(index: int | None) -> None:
    data = (
        tool_delta(index, "{}", id="x", name="add"),
        tool_delta(index, '{"b"', id="y", name="sub"),
        tool_delta(index, ": 2}", id="y", name="sub"),
        chunk({}, "tool_calls"),
        "[DONE]",
    )
    with OpenAIServer([Events(data)]) as server:
        reply, _ = stream(at(server))
    assert reply.tool_calls == (ToolCall("x", "add", "{}"), ToolCall("y", "sub", '{"b": 2}'))


def test_a_streamed_refusal_is_text() -> None:
    with OpenAIServer([Answer(refusal="No.")]) as server:
        reply, pieces = stream(at(server))
    assert (reply.text, pieces) == ("No.", ["No."])


def test_cut_arguments_of_a_reply_at_its_length_limit_are_kept() -> None:
    with OpenAIServer([Answer(calls=(Call("add", '{"a": "unfin'),), finish_reason="length")]) as server:
        reply, _ = stream(at(server))
    assert reply.tool_calls[0].arguments == '{"a": "unfin'


def test_a_whole_reply_whose_done_mark_is_missing_is_taken() -> None:
    with OpenAIServer([Events((chunk({"content": "Hi"}), chunk({}, "stop")))]) as server:
        reply, _ = stream(at(server))
    assert reply.text == "Hi"


def test_an_error_of_the_listener_is_passed_on_and_ends_the_stream() -> None:
    async def broken(text: str) -> None:
        raise ValueError("listener")

    async def run(settings: OpenAISettings) -> None:
        model = OpenAIModel(settings)
        try:
            await model.reply(HELLO, broken)
        finally:
            await model.close()

    with OpenAIServer([Answer("Hello")]) as server, pytest.raises(ValueError, match="listener"):
        asyncio.run(run(at(server)))


# --- what may succeed later ---


# --- what never will ---


def completion(message: dict[str, Any], usage: Any = None, finish_reason: str = "stop") -> Raw:
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": None, **message}}
    return Raw(
        json.dumps(
            {"id": "x", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], "usage": usage}
        )
    )


def test_half_characters_are_replaced_wherever_the_provider_put_them() -> None:
    function = {"name": "ad\ud83dd", "arguments": '{"a": "\ud83d"}'}
    message = {
        "content": "hi \ud83d there",
        "tool_calls": [{"id": "c\ud83d", "type": "function", "function": function}],
    }
    with OpenAIServer([completion(message)]) as server:
        reply = ask(at(server))
    for text in (reply.text, *(part for call in reply.tool_calls for part in (call.id, call.name, call.arguments))):
        assert "\ufffd" in text
        text.encode()


@pytest.mark.parametrize("usage", [{"prompt_tokens": "7", "completion_tokens": 1.5}, {"prompt_tokens": -1}, None])
def test_a_count_that_is_no_number_of_tokens_counts_as_none(usage: Any) -> None:
    with OpenAIServer([completion({"content": "hi"}, usage)]) as server:
        assert ask(at(server)).usage == Usage(0, 0)


def test_names_and_refusals_that_are_no_text_are_none() -> None:
    call = {"id": 5, "type": "function", "function": {"name": {"a": 1}, "arguments": "{}"}}
    with OpenAIServer([completion({"refusal": 7, "tool_calls": [call]})]) as server:
        reply = ask(at(server))
    assert (reply.text, reply.tool_calls) == ("", (ToolCall("call_0", "", "{}"),))


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_cut_off_at_the_length_limit_says_so(streamed: bool) -> None:
    with OpenAIServer([Answer("Once upon", finish_reason="length")]) as server:
        reply = stream(at(server))[0] if streamed else ask(at(server))
    assert reply.text.startswith("Once upon\n\n[Cut off here")


def test_what_a_strict_endpoint_would_refuse_is_not_sent_back_to_it() -> None:
    calls = (
        ToolCall("a", "échö", "{}"),
        ToolCall("b", "", '{"x": '),
        ToolCall("c", "add", "[1]"),
        ToolCall("d", "add", '{"a": 1}'),
    )
    results = [Message("tool", "Error: no.", tool_call_id=call.id) for call in calls]
    request = ModelRequest("m", [Message("user", "Hi"), Message("assistant", "", calls), *results])
    with OpenAIServer([Answer("ok")]) as server:
        ask(at(server), request)
        sent = [call["function"] for call in server.requests[0]["messages"][1]["tool_calls"]]
    assert sent == [
        {"name": "invalid_name", "arguments": "{}"},
        {"name": "invalid_name", "arguments": "{}"},
        {"name": "add", "arguments": "{}"},
        {"name": "add", "arguments": '{"a": 1}'},
    ]
