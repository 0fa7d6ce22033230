"""A proxy in front of a Cosmos endpoint that does to requests what networks and busy services do."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    Attributes:
        forwarded: Whether the server gets it, and does what it says.
        status: The answer's status; None for no answer.
        retry_after_ms: The service's `x-ms-retry-after-ms`.
        dropped: Whether the connection is closed instead of an answer; otherwise it stays open and silent.
        delay: Seconds before the server's own answer.
        cut: Whether the server's own answer breaks off in the middle.
    """

    forwarded: bool = False
    status: int | None = None
    retry_after_ms: int | None = None
    dropped: bool = False
    delay: float = 0.0
    cut: bool = False


THROTTLED = Fault(status=429, retry_after_ms=20)
UNAVAILABLE = Fault(status=503)
UNAVAILABLE_AND_DONE = Fault(forwarded=True, status=503)
RETRY_WITH = Fault(status=449)
TIMED_OUT = Fault(status=408)
TIMED_OUT_AND_DONE = Fault(forwarded=True, status=408)
SILENT = Fault()
SILENT_AND_DONE = Fault(forwarded=True)
DROPPED = Fault(dropped=True)
DROPPED_AND_DONE = Fault(forwarded=True, dropped=True)
CUT_SHORT = Fault(forwarded=True, cut=True)


class FaultProxy:
    """A proxy on a free loopback port. Faults meet requests for documents only, so that opening is undisturbed.

    Attributes:
        url: Its address.
        script: Faults for the next requests, one each; None lets a request through.
        always: The fault of every request after those.
        decide: When set, says instead what happens to a request, from its method and path and from its body.
        forwarded: Method and path of what reached the server.
    """

    def __init__(self, upstream: str) -> None:
        self.url = ""
        self.script: deque[Fault | None] = deque()
        self.always: Fault | None = None
        self.decide: Callable[[str, bytes], Fault | None] | None = None
        self.forwarded: list[str] = []
        self._upstream = upstream
        self._leaving = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        application = web.Application(client_max_size=0)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leaving.set()
        await self._runner.cleanup()
        await self._session.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fault = self._next_fault(request, body) if "/docs" in request.path else None
        answer = None
        if fault is None or fault.forwarded or fault.delay:
            answer = await self._forward(request, body)
        if fault is None:
            assert answer is not None
            return answer
        if fault.delay:
            assert answer is not None
            await asyncio.wait([asyncio.create_task(self._leaving.wait())], timeout=fault.delay)
            return answer
        if fault.cut:
            assert answer is not None
            return await self._cut(request, answer)
        if fault.status is not None:
            headers = {} if fault.retry_after_ms is None else {"x-ms-retry-after-ms": str(fault.retry_after_ms)}
            return web.json_response({"code": "Fault", "message": "injected"}, status=fault.status, headers=headers)
        if not fault.dropped:
            await self._leaving.wait()
        return self._drop(request)

    def _next_fault(self, request: web.Request, body: bytes) -> Fault | None:
        if self.decide is not None:
            return self.decide(f"{request.method} {request.path}", body)
        return self.script.popleft() if self.script else self.always

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        self.forwarded.append(f"{request.method} {request.path}")
        url = URL(self._upstream + request.raw_path, encoded=True)
        async with self._session.request(request.method, url, headers=request.headers, data=body) as answer:
            hop = {"connection", "content-length", "keep-alive", "transfer-encoding"}
            headers = {name: value for name, value in answer.headers.items() if name.lower() not in hop}
            return web.Response(status=answer.status, headers=headers, body=await answer.read())

    async def _cut(self, request: web.Request, answer: web.Response) -> web.StreamResponse:
        assert isinstance(answer.body, bytes)
        begun = web.StreamResponse(status=answer.status, headers={"content-type": "application/json"})
        begun.content_length = len(answer.body) + 10
        await begun.prepare(request)
        await begun.write(answer.body)
        self._drop(request)
        return begun

    def _drop(self, request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
