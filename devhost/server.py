"""The web server: one loopback socket, and a stop that does not wait for ever."""

import asyncio
import errno
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from devhost.errors import PortInUseError

GRACE_SECONDS = 2
"""How long requests and work items in flight may go on after Ctrl-C."""


def listen(host: str, port: int) -> socket.socket:
    """Opens the host's socket; port 0 means any free one.

    Raises:
        PortInUseError: Somebody else has the port, or it needs more rights.
    """
    try:
        ((family, _, _, _, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise PortInUseError(f"cannot listen on '{host}': {error}") from error
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} is taken by another program; stop that, or choose another with --port"
            ) from error
        raise PortInUseError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


class WebServer(uvicorn.Server):
    """Serves an ASGI app until Ctrl-C or SIGTERM."""

    def __init__(self, app: ASGIApp, *, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would raise the signal again at the end, and the exit code would not be 0.
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_stop)
