"""Serves the HTTP triggers of both programming models.

Classic: the request is read whole and becomes the ``func.HttpRequest`` of the worker library; its answer, an
``RpcHttp``, becomes the response. Streaming (the app imports an ``azurefunctions.extensions.http`` package): the
function gets our Starlette request itself, body unread, and its response object is sent as it is produced.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from azure_functions_runtime.http_v2 import HttpV2Registry, http_coordinator
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devhost import protos
from devhost.keys import AuthLevel, Keys
from devhost.protos import TypedData
from devhost.routes import Route, compile_route
from devhost.triggers import client_inputs, unserved
from devhost.worker import Failure, Function, Outcome, TraceContext, Worker, new_invocation_id

logger = logging.getLogger("host.http")

HOME = "Your function app is up and running on devhost, a local Azure Functions host.\n"
ALL_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE")


class HttpFunction:
    """One HTTP-triggered function and where it is served."""

    def __init__(self, function: Function, route_prefix: str) -> None:
        trigger = function.trigger
        path = str(trigger.get("route") or function.name).strip("/")
        self.function = function
        self.route: Route = compile_route(f"{route_prefix}/{path}")
        self.methods = tuple(str(m).upper() for m in trigger.get("methods") or ALL_METHODS)
        self.auth_level = AuthLevel(str(trigger.get("authLevel") or "function").lower())


class HttpTriggers:
    """The ASGI app of all HTTP-triggered functions; answers 404 for every other path."""

    def __init__(self, worker: Worker, functions: list[HttpFunction], keys: Keys, client: str) -> None:
        self._worker = worker
        self._functions = sorted(functions, key=lambda f: f.route.rank)
        self._keys = keys
        self._client = client
        self._stopping = asyncio.Event()
        self._streaming = HttpV2Registry.http_v2_enabled()

    def end_streams(self) -> None:
        """Lets every open response believe that its client went away, so that the host can stop."""
        self._stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["path_params"] = {}  # The worker fills it in.
        request = Request(scope, _until(self._stopping, receive), send)
        response = await self._respond(request)
        await response(scope, request.receive, send)

    async def _respond(self, request: Request) -> ASGIApp:
        path = request.scope["path"]  # Not that of request.url, which drops line breaks and tabs.
        matches = [(f, v) for f in self._functions if (v := f.route.match(path.lstrip("/"))) is not None]
        found = next(((f, v) for f, v in matches if request.method in f.methods), None)
        if found is None:
            # Azure answers 404, not 405, when only the method is wrong.
            return PlainTextResponse(HOME) if path == "/" else Response(status_code=404)
        target, values = found
        if not self._keys.allow(request, target.auth_level, target.function.name):
            return Response(status_code=401)
        started = time.monotonic()
        logger.info("Executing '%s' (%s %s)", target.function.name, request.method, request.url.path)
        invocation_id = new_invocation_id()
        try:
            response, failure = await self._run(target.function, invocation_id, request, values)
        except ClientDisconnect:
            return Response(status_code=499)
        elapsed = round((time.monotonic() - started) * 1000)
        if failure is not None:
            trace = failure.stack_trace or failure.message
            logger.error("Executed '%s' (Failed, %s ms)\n%s", target.function.name, elapsed, trace)
            return PlainTextResponse(f"Exception in '{target.function.name}': {failure.message}", status_code=500)
        logger.info("Executed '%s' (Succeeded, %s ms)", target.function.name, elapsed)

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            # A stream is the function's own code, still at work.
            with self._worker.running(target.function.name, invocation_id):
                await response(scope, receive, send)

        return respond

    async def _run(
        self, function: Function, invocation_id: str, request: Request, values: Mapping[str, str]
    ) -> tuple[ASGIApp, Failure | None]:
        missing = unserved(function)
        if missing:
            return Response(), Failure(f"devhost does not serve {', '.join(missing)}", "")
        body = b"" if self._streaming else await request.body()
        inputs = {
            function.trigger["name"]: _request_data(request, values, body),
            **client_inputs(function, self._client),
        }
        headers = request.headers
        trace = TraceContext.started_by_host()
        if "traceparent" in headers:
            trace = TraceContext(headers["traceparent"], headers.get("tracestate", ""))
        if self._streaming:
            http_coordinator.set_http_request(invocation_id, request)
        # A task of its own: the worker library leaves the trace attached to the context it runs in.
        outcome = await asyncio.create_task(self._worker.invoke(function, inputs, trace, invocation_id))
        if self._streaming:
            return await _streamed(invocation_id, outcome)
        return _classic(function, outcome), outcome.failure


def _request_data(request: Request, values: Mapping[str, str], body: bytes) -> TypedData:
    return TypedData(
        http=protos.RpcHttp(
            method=request.method,
            url=str(request.url),
            headers=dict(request.headers),
            body=TypedData(bytes=body),
            params=dict(values),
            query=dict(request.query_params),
        )
    )


async def _streamed(invocation_id: str, outcome: Outcome) -> tuple[ASGIApp, Failure | None]:
    try:
        result: Any = await http_coordinator.await_http_response_async(invocation_id)
    except ValueError:
        return Response(), outcome.failure or Failure("TypeError: the function returned no response", "")
    finally:
        # The library keeps one entry for every request it ever had.
        http_coordinator._context_references.pop(invocation_id, None)
    if outcome.failure is not None:
        return Response(), outcome.failure
    if isinstance(result, Response):
        return result, None
    # FastAPI is there whenever the app is a streaming one; the rest of devhost does not need it.
    from fastapi.encoders import jsonable_encoder

    return JSONResponse(jsonable_encoder(result)), None


def _classic(function: Function, outcome: Outcome) -> Response:
    data = outcome.return_value
    for output in function.outputs:
        if output["type"] == "http" and output["name"] in outcome.outputs:
            data = outcome.outputs[output["name"]]
    if data is None:
        return Response(status_code=204)
    if data.kind != "http":
        return PlainTextResponse(data.value if isinstance(data.value, str | bytes) else str(data.value))
    http = data.value
    response = Response(http.body.value if http.body else b"", status_code=int(http.status_code))
    # Azure sends the headers of the function and no more; Starlette has put in a content-length of its own.
    headers: MutableHeaders = response.headers
    for name, value in http.headers.items():
        headers[name] = value
    for cookie in http.cookies or []:
        headers.append("set-cookie", _cookie(cookie))
    return response


def _cookie(cookie: Any) -> str:
    parts = [f"{cookie.name}={cookie.value}"]
    for label, field in (("Domain", cookie.domain), ("Path", cookie.path), ("Max-Age", cookie.max_age)):
        if field is not None and field.value not in (None, ""):
            parts.append(f"{label}={field.value:g}" if isinstance(field.value, float) else f"{label}={field.value}")
    if cookie.expires is not None:
        moment = time.gmtime(cookie.expires.value.seconds)
        parts.append(f"Expires={time.strftime('%a, %d %b %Y %H:%M:%S GMT', moment)}")
    parts += [
        label for label, field in (("Secure", cookie.secure), ("HttpOnly", cookie.http_only)) if field and field.value
    ]
    if cookie.same_site:
        parts.append(f"SameSite={cookie.same_site}")
    return "; ".join(parts)


def _until(stopping: asyncio.Event, receive: Receive) -> Receive:
    async def receive_or_stop() -> Message:
        incoming = asyncio.ensure_future(receive())
        stop = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait((incoming, stop), return_when=asyncio.FIRST_COMPLETED)
            return incoming.result() if incoming.done() else {"type": "http.disconnect"}
        finally:
            incoming.cancel()
            stop.cancel()

    return receive_or_stop
