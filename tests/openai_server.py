"""A small HTTP server that speaks the Chat Completions and Embeddings protocols and answers from a script.

    with OpenAIServer([Answer("Hello"), Failure(429, headers={"Retry-After": "3"})]) as server:
        ... point a client, in this process or another, at server.base_url ...
        server.requests[0]["messages"]

It is strict: a request the script does not foresee, a request that breaks the protocol and a step nobody asked for
are all reported by `verify()`, which leaving the `with` block calls.
"""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

MODEL = "scripted-model"
ROLES = {"system", "developer", "user", "assistant", "tool"}


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call of an answer. `id` None leaves the field out, as some endpoints do."""

    name: str
    arguments: str
    id: str | None = "call_a"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole reply, sent plain or as a stream, whichever the request asks for.

    Attributes:
        finish_reason: None for the usual one: `tool_calls` when there are calls, else `stop`.
        usage: Prompt and completion tokens.
        piece: Characters per streamed piece, of text and of arguments alike: small ones cut in awkward places.
        pause: Seconds between the pieces of a stream.
        breaks_after: Pieces after which a stream is cut off; None for never.
    """

    text: str | None = None
    calls: tuple[Call, ...] = ()
    refusal: str | None = None
    finish_reason: str | None = None
    usage: tuple[int, int] = (7, 5)
    piece: int = 3
    pause: float = 0.0
    breaks_after: int | None = None


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings, one for each text of the request. They are sent last one first, as the protocol allows."""

    vectors: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """An error status with the protocol's error body."""

    status: int
    message: str = "scripted failure"
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Raw:
    """Any body at all."""

    content: str | bytes
    content_type: str = "application/json"
    status: int = 200


@dataclass(frozen=True, slots=True)
class Events:
    """A stream of the given `data:` lines. `cut` drops the connection after them; otherwise the body ends cleanly."""

    data: tuple[str, ...]
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Slow:
    """Another answer, after so many seconds of silence."""

    seconds: float
    answer: "Reply"


type Reply = Answer | Vectors | Failure | Raw | Events | Slow
type Decide = Callable[[dict[str, Any]], Reply]
"""Decides on an answer from the request's JSON, for scripts that depend on what was asked."""


def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> str:
    """One `data:` line of a stream, for `Events`."""
    choice = {"index": 0, "delta": dict(delta), "finish_reason": finish_reason}
    return _chunk([choice])


class OpenAIServer:
    """Serves `/v1/chat/completions`, `/v1/embeddings` and Azure's paths of both, on a free loopback port.

    Attributes:
        base_url: For an OpenAI-compatible client, up to and including `/v1`.
        azure_endpoint: For an Azure client.
        requests: The JSON body of every request, in order.
        headers: Its headers, lower-case.
        urls: Its path and query.
    """

    def __init__(self, script: Sequence[Reply | Decide] | Decide) -> None:
        """Take a list, one step per request in order, or one function that answers all requests."""
        self._script = script
        self._problems: list[str] = []
        self._turn = threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.urls: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.azure_endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.base_url = f"{self.azure_endpoint}/v1"
        routes = [
            Route(f"{prefix}/{protocol}", self._answer, methods=["POST"])
            for prefix in ("/v1", "/openai/v1", "/openai/deployments/{deployment}")
            for protocol in ("chat/completions", "embeddings")
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_level="critical", lifespan="off")
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server.running.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.stop()
        self._thread.join()
        self._socket.close()
        # A test that failed already has its reason; what the script missed would only hide it.
        if error is None:
            self.verify()

    def verify(self) -> None:
        """Fail when a request was wrong or unforeseen, or when a step of the script was not used."""
        problems = list(self._problems)
        if not callable(self._script) and len(self.requests) < len(self._script):
            unused = self._script[len(self.requests) :]
            problems.append(f"{len(unused)} steps of the script were not used; the next is {unused[0]!r}")
        if problems:
            raise AssertionError("\n".join(problems))

    async def _answer(self, request: Request) -> Response:
        raw = await request.body()
        try:
            asked: dict[str, Any] = json.loads(raw)
            _check_protocol(request, asked)
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            return self._problem(f"a request breaks the protocol: {error!r}: {raw[:500]!r}")
        with self._turn:
            position = len(self.requests)
            self.requests.append(asked)
            self.headers.append(dict(request.headers))
            self.urls.append(f"{request.url.path}?{request.url.query}".rstrip("?"))
        if callable(self._script):
            step = self._script
        elif position < len(self._script):
            step = self._script[position]
        else:
            return self._problem(f"request {position} is not in the script: {json.dumps(asked)[:2000]}")
        try:
            reply = step(asked) if callable(step) else step
        except Exception as error:
            return self._problem(f"request {position}: the script's function failed: {error!r}")
        while isinstance(reply, Slow):
            await asyncio.sleep(reply.seconds)
            reply = reply.answer
        return _response(reply, asked)

    def _problem(self, text: str) -> Response:
        self._problems.append(text)
        # 400, which no client repeats.
        return _response(Failure(400, f"test script: {text}"), {})


class _Server(uvicorn.Server):
    """Stops at once and drops what is in flight; uvicorn's own way takes 0.2 s, which tests pay by the hundred."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.running = threading.Event()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self.running.set()
        await self._end.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for task in list(self.server_state.tasks):
            task.cancel()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)


def _check_protocol(request: Request, asked: dict[str, Any]) -> None:
    azure = "deployment" in request.path_params
    assert "authorization" in request.headers or "api-key" in request.headers, "no credentials"
    assert not azure or "api-version" in request.query_params, "no api-version"
    assert asked["model"], "no model"
    if request.url.path.endswith("/embeddings"):
        assert asked["input"], "no input"
        assert all(isinstance(text, str) and text for text in asked["input"]), "an empty text"
        assert asked["encoding_format"] == "float", "the SDK's default is not known everywhere"
        return
    assert asked["messages"], "no messages"
    assert asked.get("tools") != [], "an empty list of tools"
    unanswered: list[str] = []
    for message in asked["messages"]:
        assert message["role"] in ROLES, f"role {message['role']}"
        if message["role"] == "tool":
            assert message["tool_call_id"] in unanswered, f"a result for no call: {message['tool_call_id']}"
            unanswered.remove(message["tool_call_id"])
            continue
        assert not unanswered, f"no result for {unanswered}"
        assert isinstance(message["content"], str) or message.get("tool_calls"), "a message without content"
        unanswered = [call["id"] for call in message.get("tool_calls") or ()]
    assert not unanswered, f"no result for {unanswered}"


def _response(reply: Answer | Vectors | Failure | Raw | Events, asked: dict[str, Any]) -> Response:
    match reply:
        case Answer() if asked.get("stream"):
            data = _stream(reply, include_usage=asked.get("stream_options") == {"include_usage": True})
            if reply.pause:
                return _SlowResponse(reply, (*data, "[DONE]"))
            return Response(_events((*data, "[DONE]")), media_type="text/event-stream")
        case Answer():
            return JSONResponse(_completion(reply))
        case Vectors():
            data = [
                {"object": "embedding", "index": index, "embedding": list(vector)}
                for index, vector in enumerate(reply.vectors)
            ]
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            return JSONResponse({"object": "list", "model": MODEL, "data": data[::-1], "usage": usage})
        case Failure():
            error = {"message": reply.message, "type": "scripted", "param": None, "code": reply.code}
            return JSONResponse({"error": error}, reply.status, dict(reply.headers))
        case Raw():
            return Response(reply.content, reply.status, media_type=reply.content_type)
        case Events() if reply.cut:
            return _CutResponse(_events(reply.data), media_type="text/event-stream")
        case Events():
            return Response(_events(reply.data), media_type="text/event-stream")


class _SlowResponse(StreamingResponse):
    """Sends piece after piece with pauses, and may be cut off as a connection that breaks."""

    def __init__(self, reply: Answer, data: Sequence[str]) -> None:
        super().__init__(self._pieces(reply, data), media_type="text/event-stream")

    async def _pieces(self, reply: Answer, data: Sequence[str]) -> AsyncIterator[str]:
        for number, piece in enumerate(data):
            if number == reply.breaks_after:
                raise asyncio.CancelledError
            yield _events((piece,))
            await asyncio.sleep(reply.pause)


class _CutResponse(Response):
    """Sends its body as if more were to come, then lets the server drop the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})


def _completion(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": answer.refusal}
    if answer.calls:
        message["tool_calls"] = [_call(call) for call in answer.calls]
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(answer)}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [choice],
        "usage": _usage(answer),
    }


def _stream(answer: Answer, *, include_usage: bool) -> tuple[str, ...]:
    data = [chunk({"role": "assistant", "content": ""})]
    data += [chunk({"content": piece}) for piece in _pieces(answer.text or "", answer.piece)]
    data += [chunk({"refusal": piece}) for piece in _pieces(answer.refusal or "", answer.piece)]
    for index, call in enumerate(answer.calls):
        opening = {**_call(call), "index": index, "function": {"name": call.name, "arguments": ""}}
        data.append(chunk({"tool_calls": [opening]}))
        for piece in _pieces(call.arguments, answer.piece):
            data.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
    data.append(chunk({}, _finish_reason(answer)))
    if include_usage:
        data.append(_chunk([], _usage(answer)))
    return tuple(data)


def _chunk(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> str:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    return json.dumps({**head, "choices": choices, "usage": usage}, ensure_ascii=False)


def _call(call: Call) -> dict[str, Any]:
    written = {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return written if call.id is None else {"id": call.id, **written}


def _finish_reason(answer: Answer) -> str:
    return answer.finish_reason or ("tool_calls" if answer.calls else "stop")


def _usage(answer: Answer) -> dict[str, int]:
    prompt, completion = answer.usage
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def _events(data: Sequence[str]) -> str:
    return "".join(f"data: {line}\n\n" for line in data)
