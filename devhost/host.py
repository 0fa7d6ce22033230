"""Puts the parts together and runs them.

1. Load the app through the worker library.
2. Open the task hub.
3. Serve HTTP triggers and the management API, run work items, run timers.
4. On Ctrl-C: no new work, a short grace for what runs, then everything is closed.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import azure_functions_runtime as runtime
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from devhost.config import CorsConfig, HostConfig
from devhost.console import complain, function_list, say
from devhost.dispatch import Dispatcher
from devhost.errors import ConfigError
from devhost.http_triggers import HttpFunction, HttpTriggers
from devhost.hub import task_hub
from devhost.keys import Keys
from devhost.management import management_routes
from devhost.management_urls import BASE_PATH, ManagementUrls
from devhost.routes import RouteError
from devhost.schedule import ScheduleError
from devhost.server import GRACE_SECONDS, WebServer
from devhost.taskhub.service import TaskHub
from devhost.timers import Timer
from devhost.worker import Function, Worker

logger = logging.getLogger("host.main")


@dataclass(frozen=True)
class Host:
    """A host for one function app.

    Attributes:
        listener: The socket to serve on, already listening.
        origin: ``http://host:port`` of that socket.
        names: What a request may call this host: a page whose own name was made to point here is refused.
        state: Folder that keeps the task hub; None: it is gone when the host ends.
        on_ready: Shell command to run once the host is ready, with ``{url}`` for the origin; "" for none.
    """

    app_dir: Path
    config: HostConfig
    cors: CorsConfig
    worker: Worker
    keys: Keys
    listener: socket.socket
    origin: str
    names: tuple[str, ...]
    state: Path | None
    on_ready: str

    async def run(self) -> None:
        """Loads the app and serves it until told to stop.

        Raises:
            IndexingError: The app cannot be loaded.
            ConfigError: A route or schedule of the app cannot be read.
            StateError: The file of the task hub cannot be used.
        """
        functions = await self.worker.load(self.app_dir)
        try:
            async with task_hub(
                self.state,
                self.config.durable_task.hub_name,
                reuse_unfinished_ids=self.config.durable_task.reuse_unfinished_ids,
                on_failure=self._give_up,
            ) as (hub, address):
                await self._serve(functions, hub, address)
        finally:
            if (pool := runtime.get_threadpool_executor()) is not None:
                pool.shutdown(wait=False, cancel_futures=True)

    async def _serve(self, functions: list[Function], hub: TaskHub, address: str) -> None:
        urls = ManagementUrls(self.origin, self.config.durable_task.hub_name, self.keys.management)
        client = urls.client_binding(address)
        http = _http_functions(functions, self.config.route_prefix)
        timers = _timers(functions, self.worker, client)
        dispatcher = Dispatcher(self.worker, functions, hub, self.config.durable_task, client)
        triggers = HttpTriggers(self.worker, http, self.keys, client)
        management = management_routes(hub, dispatcher, self.keys, urls)
        app = Starlette(
            routes=[
                Mount(BASE_PATH, routes=management),
                *_host_routes(self.keys, timers),
            ],
            middleware=[
                Middleware(TrustedHostMiddleware, allowed_hosts=self.names, www_redirect=False),
                *_cors(self.cors),
            ],
            exception_handlers={Exception: _unexpected},
        )
        # Not a mount: no path pattern of Starlette's matches a line break, and an app is to see every path.
        app.router.default = triggers

        def ready() -> None:
            say(function_list(http, functions, self.origin, self.keys))
            say(f"Host ready on {self.origin}")
            if self.on_ready:
                _run_aside(self.on_ready.replace("{url}", self.origin))

        server = WebServer(app, on_ready=ready, on_stop=triggers.end_streams)
        dispatcher.start()
        background = [asyncio.create_task(timer.run()) for timer in timers.values()]
        await server.serve(sockets=[self.listener])
        say("Stopping")
        await dispatcher.stop(GRACE_SECONDS)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)

    def _give_up(self, error: Exception) -> None:
        """Ends the process at once, as a crash would: what is in memory is ahead of a file that takes no more."""
        complain(f"devhost: {error}")
        sys.stdout.flush()
        os._exit(1)


def _run_aside(command: str) -> None:
    """Starts a shell command and leaves it to itself: it may well call this host, which only now begins to answer."""
    # In a session of its own, so that Ctrl-C stops the host and not a command that is nearly done.
    child = subprocess.Popen(command, shell=True, start_new_session=True)
    # Somebody must take note of its end, or it stays in the process table for as long as the host runs.
    threading.Thread(target=child.wait, name="on-ready", daemon=True).start()


def _http_functions(functions: list[Function], route_prefix: str) -> list[HttpFunction]:
    try:
        return [HttpFunction(f, route_prefix) for f in functions if f.trigger_type == "httpTrigger"]
    except RouteError as error:
        raise ConfigError(str(error)) from error


def _timers(functions: list[Function], worker: Worker, client: str) -> dict[str, Timer]:
    try:
        return {f.name.lower(): Timer(f, worker, client) for f in functions if f.trigger_type == "timerTrigger"}
    except ScheduleError as error:
        raise ConfigError(str(error)) from error


def _host_routes(keys: Keys, timers: dict[str, Timer]) -> list[Route]:
    async def status(request: Request) -> Response:
        if not keys.allow_admin(request):
            return Response(status_code=401)
        return JSONResponse({"id": "devhost", "state": "Running", "version": "devhost", "processUptime": None})

    async def run_timer(request: Request) -> Response:
        if not keys.allow_admin(request):
            return Response(status_code=401)
        timer = timers.get(request.path_params["name"].lower())
        if timer is None:
            return Response(status_code=404)
        started = asyncio.create_task(timer.fire())
        running.add(started)
        started.add_done_callback(running.discard)
        return Response(status_code=202)

    # asyncio itself keeps only weak references to tasks.
    running: set[asyncio.Task[None]] = set()
    return [
        Route("/admin/host/status", status),
        Route("/admin/functions/{name}", run_timer, methods=["POST"]),
    ]


def _cors(config: CorsConfig) -> list[Middleware]:
    """What answers browsers as Azure's front end does, when the CORS setting names origins."""
    if not config.origins:
        return []
    every = ["*"]
    middleware = Middleware(
        CORSMiddleware,
        allow_origins=config.origins,
        allow_credentials=config.credentials,
        allow_methods=every,
        allow_headers=every,
        expose_headers=every,
    )
    return [middleware]


async def _unexpected(request: Request, error: Exception) -> Response:
    logger.error("Unhandled exception in %s %s", request.method, request.url.path, exc_info=error)
    return JSONResponse({"Message": "Something went wrong while processing your request"}, 500)
