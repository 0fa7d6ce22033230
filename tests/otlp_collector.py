"""A collector of OpenTelemetry's, over its wire protocol: it takes what is exported and tells what it has taken."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WAIT_SECONDS = 30.0

type Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SpanTaken:
    """A span, with its ids in hexadecimal digits; `parent_id` is empty for a root."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    attributes: Values
    start: int
    end: int
    failed: bool
    said: str
    events: int


@dataclass(frozen=True, slots=True)
class LogTaken:
    """A log record."""

    trace_id: str
    body: str
    attributes: Values


@dataclass(frozen=True, slots=True)
class PointTaken:
    """The last value of a metric for some attributes: a number, or the count and sum of a histogram."""

    value: float
    count: int


@dataclass(slots=True)
class Taken:
    """What has come in."""

    spans: list[SpanTaken] = field(default_factory=list[SpanTaken])
    logs: list[LogTaken] = field(default_factory=list[LogTaken])
    metrics: dict[str, dict[frozenset[tuple[str, Any]], PointTaken]] = field(
        default_factory=dict[str, dict[frozenset[tuple[str, Any]], PointTaken]]
    )

    def trace(self, task_id: str) -> list[SpanTaken]:
        """All spans of the trace that a task is in."""
        [trace_id] = {span.trace_id for span in self.spans if span.attributes.get("perdure.task.id") == task_id}
        return [span for span in self.spans if span.trace_id == trace_id]

    def has_ended(self, task_id: str) -> bool:
        """Whether the span of a task has come in, which is among the last."""
        return any(
            span.name.startswith("invoke_agent") and span.attributes["perdure.task.id"] == task_id
            for span in self.spans
        )


class Collector:
    """Takes OTLP over HTTP on a free loopback port."""

    def __init__(self) -> None:
        self._taken = Taken()
        self._news = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector._take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def settings(self) -> dict[str, str]:
        """What makes an app export here, soon after things have happened."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_BLRP_SCHEDULE_DELAY": "50",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        }

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

    def wait_for[T](self, look: Callable[[Taken], T], seconds: float = WAIT_SECONDS) -> T:
        """Wait until a look at what has come in finds something, and return it."""
        with self._news:
            found = self._news.wait_for(lambda: look(self._taken), seconds)
            assert found, f"not within {seconds} s; so far: {[span.name for span in self._taken.spans]}"
            return found

    def _take(self, path: str, body: bytes) -> None:
        with self._news:
            match path:
                case "/v1/traces":
                    self._taken.spans.extend(_spans(body))
                case "/v1/logs":
                    self._taken.logs.extend(_logs(body))
                case _:
                    _add_metrics(body, self._taken.metrics)
            self._news.notify_all()


def _spans(body: bytes) -> list[SpanTaken]:
    return [
        SpanTaken(
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.name,
            span.kind,
            _values(span.attributes),
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.code == span.status.STATUS_CODE_ERROR,
            span.status.message,
            len(span.events),
        )
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _logs(body: bytes) -> list[LogTaken]:
    return [
        LogTaken(record.trace_id.hex(), record.body.string_value, _values(record.attributes))
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def _add_metrics(body: bytes, known: dict[str, dict[frozenset[tuple[str, Any]], PointTaken]]) -> None:
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                assert kind
                points = known.setdefault(metric.name, {})
                for point in getattr(metric, kind).data_points:
                    if kind == "histogram":
                        taken = PointTaken(point.sum, point.count)
                    else:
                        taken = PointTaken(getattr(point, point.WhichOneof("value")), 1)
                    points[frozenset(_values(point.attributes).items())] = taken


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
