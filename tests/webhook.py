"""An address that alerts are posted to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

WAIT_SECONDS = 30.0


class Webhook:
    """Takes JSON over HTTP on a free loopback port, and answers with a status.

    Attributes:
        messages: What was posted, in order.
    """

    def __init__(self, status: int = 204) -> None:
        self.messages: list[dict[str, Any]] = []
        self._news = threading.Condition()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with webhook._news:
                    webhook.messages.append(json.loads(body))
                    webhook._news.notify_all()
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/5f2c-secret"

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many messages in all."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.messages) >= count, WAIT_SECONDS), self.messages
            return list(self.messages)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
