"""The model port over the Chat Completions API: OpenAI, Azure OpenAI and every endpoint that speaks the same protocol.

One reply, in the order of the code:

1. `_written` puts the request in the provider's words.
2. `_read_completion` or, streaming, `_Assembly` reads the answer.

`perdure.models.openai_client` opens the connection and knows what the SDK's errors mean.
"""

import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from perdure.domain.messages import Message, ModelReply, ToolCall, ToolSpec, Usage
from perdure.models.failures import ADVICE, BROKEN, failure, handling
from perdure.models.openai_client import OpenAIClient, OpenAISettings
from perdure.models.port import ModelRequest, OnText

if TYPE_CHECKING:
    from openai import AsyncStream
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall

FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Names of functions that OpenAI's API allows."""

CUT_OFF = "\n\n[Cut off here: the model reached the limit of its output.]"
FILTERED = "content_filter"
BROKEN_STREAM = "The model's stream ended before its reply was complete."


class OpenAIModel:
    """A model behind the Chat Completions API.

    One object holds one HTTP client, built at the first reply. It belongs to the event loop of that reply; the
    Functions worker runs everything on one loop.
    """

    def __init__(self, settings: OpenAISettings) -> None:
        self._client = OpenAIClient(settings)

    async def reply(self, request: ModelRequest, on_text: OnText | None = None) -> ModelReply:
        """Answer one turn; see `perdure.models.port.Model`."""
        client = await self._client.get()
        ask = _written(request)
        try:
            if on_text is None:
                completion = await client.chat.completions.create(**ask, stream=False)
                return _read_completion(completion, request.model)
            stream = await client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
        except Exception as error:
            # No chained exception: a provider may repeat the key in its message, and a log prints the whole chain.
            raise self._client.failure(error) from None
        return await self._read_stream(stream, request.model, on_text)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def _read_stream(self, stream: "AsyncStream[ChatCompletionChunk]", model: str, on_text: OnText) -> ModelReply:
        assembly = _Assembly(model)
        async with stream, aclosing(self._pieces(stream, assembly)) as pieces:
            async for piece in pieces:
                await on_text(piece)
        reply = assembly.reply()
        if reply.text and not assembly.text:
            await on_text(reply.text)
        return reply

    async def _pieces(self, stream: "AsyncStream[ChatCompletionChunk]", assembly: "_Assembly") -> AsyncGenerator[str]:
        # A generator of its own, so that an error of the caller's on_text is never taken for one of the stream's.
        try:
            async for chunk in stream:
                if piece := assembly.add(chunk):
                    yield piece
        except Exception as error:
            raise self._client.failure(error) from None


def _written(request: ModelRequest) -> dict[str, Any]:
    written: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
    }
    if request.tools:
        written["tools"] = [_tool(tool) for tool in request.tools]
    if request.max_output_tokens is not None:
        # Not `max_tokens`, which OpenAI's reasoning models refuse. An endpoint that knows only that passes this over.
        written["max_completion_tokens"] = request.max_output_tokens
    return written


def _message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        # Beside tool calls some endpoints refuse an empty text but all take none.
        written["content"] = message.content or None
        written["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return written


def _call(call: ToolCall) -> dict[str, Any]:
    """A call the model made, as it is told of it again: strict endpoints refuse a name or arguments that do not fit.

    What was wrong with either stands in the call's result.
    """
    name = call.name if FUNCTION_NAME.fullmatch(call.name) else "invalid_name"
    try:
        sound = isinstance(json.loads(call.arguments), dict)
    except (ValueError, RecursionError):
        sound = False
    arguments = call.arguments if sound else "{}"
    return {"id": call.id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _read_completion(completion: "ChatCompletion", model: str) -> ModelReply:
    choice = completion.choices[0]
    if choice.finish_reason == "content_filter":
        raise failure(handling(None, FILTERED), ADVICE[FILTERED])
    calls: list[ToolCall] = []
    for call in choice.message.tool_calls or ():
        if call.type != "custom":  # we offer functions only
            function = call.function
            calls.append(ToolCall(_text(call.id), _text(function.name), _json_text(function.arguments)))
    text = _text(choice.message.content) or _text(choice.message.refusal)
    if choice.finish_reason == "length" and not calls:
        text += CUT_OFF
    return ModelReply(text, _with_distinct_ids(calls), _usage(completion.usage), _text(completion.model) or model)


@dataclass(slots=True)
class _PartialCall:
    id: str = ""
    name: str = ""
    arguments: str = ""


class _Assembly:
    """Puts a streamed reply together, chunk by chunk."""

    def __init__(self, model: str) -> None:
        self.text = ""
        self._refusal = ""
        self._calls: list[_PartialCall] = []
        self._latest: dict[int | None, _PartialCall] = {}
        self._finish_reason: str | None = None
        self._usage = Usage()
        self._model = model

    def add(self, chunk: "ChatCompletionChunk") -> str:
        """Take one chunk in and return the text it adds."""
        self._model = _text(chunk.model) or self._model
        self._usage = _usage(chunk.usage) if chunk.usage else self._usage
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self._finish_reason = choice.finish_reason or self._finish_reason
        for piece in choice.delta.tool_calls or ():
            self._add_call(piece)
        self._refusal += _text(choice.delta.refusal)
        added = _text(choice.delta.content)
        self.text += added
        return added

    def reply(self) -> ModelReply:
        """The whole reply.

        Raises:
            ModelInterrupted: The stream ended without saying why the model stopped, so something is missing.
            ModelRejected: The content filter cut the reply off.
        """
        # The finish reason is the mark of a whole reply. `[DONE]` comes after it and the SDK does not show whether it
        # came; asking again for a reply that is complete would charge for it twice.
        if self._finish_reason is None:
            raise failure(handling(None, BROKEN), BROKEN_STREAM)
        if self._finish_reason == "content_filter":
            raise failure(handling(None, FILTERED), ADVICE[FILTERED])
        calls = [ToolCall(call.id, call.name, call.arguments) for call in self._calls]
        text = self.text or self._refusal
        if self._finish_reason == "length" and not calls:
            text += CUT_OFF
        return ModelReply(text, _with_distinct_ids(calls), self._usage, self._model)

    def _add_call(self, piece: "ChoiceDeltaToolCall") -> None:
        name = _text(piece.function.name) if piece.function else ""
        call = self._latest.get(piece.index)
        # Some endpoints number all calls 0 or not at all: then a new id together with a name begins the next call.
        if call is None or (name and piece.id and call.id and piece.id != call.id):
            call = self._latest[piece.index] = _PartialCall()
            self._calls.append(call)
        call.id = call.id or _text(piece.id)
        if name != call.name:  # some repeat the whole name with every piece
            call.name += name
        call.arguments += _json_text(piece.function.arguments) if piece.function else ""


def _text(content: object) -> str:
    """A provider's text as ours: "" for what is none, the texts of a list of parts, and half characters replaced.

    JSON can spell half a surrogate pair; no store and no later request could carry it.
    """
    if isinstance(content, str):
        return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    parts = cast("list[object]", content) if isinstance(content, list) else []
    texts = [cast("Mapping[str, object]", part).get("text") for part in parts if isinstance(part, Mapping)]
    return "".join(_text(text) for text in texts)


def _json_text(arguments: object) -> str:
    """A call's arguments as JSON text; some compatible endpoints send the object itself."""
    return _text(arguments) if arguments is None or isinstance(arguments, str) else json.dumps(arguments)


def _with_distinct_ids(calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """Give a call without an id, or with one that an earlier call has, an id made of its position."""
    theirs = {call.id for call in calls}
    seen: set[str] = set()
    distinct: list[ToolCall] = []
    for position, call in enumerate(calls):
        call_id = call.id
        if not call_id or call_id in seen:
            call_id = f"call_{position}"
            while call_id in theirs or call_id in seen:
                call_id += "_"
        seen.add(call_id)
        distinct.append(ToolCall(call_id, call.name, call.arguments))
    return tuple(distinct)


def _usage(usage: "CompletionUsage | None") -> Usage:
    return Usage(_count(usage.prompt_tokens), _count(usage.completion_tokens)) if usage else Usage()


def _count(tokens: object) -> int:
    """A number of tokens; 0 for what is no such number, which the SDK does not check."""
    return tokens if isinstance(tokens, int) and tokens >= 0 else 0
