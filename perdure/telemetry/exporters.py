"""The SDK and its exporters, put together when the app is used first; nothing of either is imported before.

Everything is handed over in memory, to queues with a bound, and sent by threads of their own: an endpoint that refuses
or hangs costs a task nothing, and what a full queue has no room for is dropped. The SDK's own variables, OTEL_BSP_...
and OTEL_BLRP_..., set the bounds. When the process ends, a last attempt to send has LAST_SECONDS.
"""

import atexit
import importlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from perdure.telemetry.logs import ExportingHandler
from perdure.telemetry.settings import AZURE_MONITOR, CONSOLE, OTLP, Telemetry
from perdure.telemetry.trace_ids import next_ids

LAST_SECONDS = 2.0

_OTLP = "opentelemetry.exporter.otlp.proto.http"
EXPORTERS = {
    ("span", OTLP): f"{_OTLP}.trace_exporter:OTLPSpanExporter",
    ("span", CONSOLE): "opentelemetry.sdk.trace.export:ConsoleSpanExporter",
    ("span", AZURE_MONITOR): "azure.monitor.opentelemetry.exporter:AzureMonitorTraceExporter",
    ("metric", OTLP): f"{_OTLP}.metric_exporter:OTLPMetricExporter",
    ("metric", CONSOLE): "opentelemetry.sdk.metrics.export:ConsoleMetricExporter",
    ("metric", AZURE_MONITOR): "azure.monitor.opentelemetry.exporter:AzureMonitorMetricExporter",
    ("log", OTLP): f"{_OTLP}._log_exporter:OTLPLogExporter",
    ("log", CONSOLE): "opentelemetry.sdk._logs.export:ConsoleLogRecordExporter",
    ("log", AZURE_MONITOR): "azure.monitor.opentelemetry.exporter:AzureMonitorLogExporter",
}
"""What exports a signal by a name; the module is imported when it is asked for."""


class Ids(RandomIdGenerator):
    """Random ids, except for spans whose ids are given."""

    def generate_trace_id(self) -> int:
        given = next_ids.get()
        return given[0] if given else super().generate_trace_id()

    def generate_span_id(self) -> int:
        given = next_ids.get()
        return given[1] if given else super().generate_span_id()


def start(telemetry: Telemetry) -> None:
    """Begin to export. Called once in a process."""
    resource = _resource()
    flushes: list[Callable[[], Any]] = []
    if telemetry.traces:
        tracers = TracerProvider(resource=resource, id_generator=Ids(), shutdown_on_exit=False)
        for name in telemetry.traces:
            tracers.add_span_processor(BatchSpanProcessor(_exporter("span", name)))
        trace.set_tracer_provider(tracers)
        flushes.append(tracers.force_flush)
    if telemetry.metrics:
        readers = [PeriodicExportingMetricReader(_exporter("metric", name)) for name in telemetry.metrics]
        meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        metrics.set_meter_provider(meters)
        flushes.append(meters.force_flush)
    if telemetry.logs:
        loggers = LoggerProvider(resource, shutdown_on_exit=False)
        for name in telemetry.logs:
            loggers.add_log_record_processor(BatchLogRecordProcessor(_exporter("log", name)))
        _logs.set_logger_provider(loggers)
        logging.getLogger().addHandler(ExportingHandler(loggers))
        flushes.append(loggers.force_flush)
    atexit.register(_flush, flushes)


def _flush(flushes: list[Callable[[], Any]]) -> None:
    """Send what is left, without holding up the end of the process for an endpoint that does not answer."""
    threads = [threading.Thread(target=flush, daemon=True) for flush in flushes]
    for thread in threads:
        thread.start()
    end = time.monotonic() + LAST_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def _resource() -> Resource:
    """Who tells: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, or the name of the site in Azure."""
    known = {
        "service.name": os.environ.get("OTEL_SERVICE_NAME") or os.environ.get("WEBSITE_SITE_NAME") or "perdure",
        "service.instance.id": os.environ.get("WEBSITE_INSTANCE_ID") or secrets.token_hex(8),
    }
    return Resource.create(known)


def _exporter(signal: str, name: str) -> Any:
    """Make an exporter. What it sends where, it reads from the environment itself."""
    module, _, maker = EXPORTERS[signal, name].partition(":")
    return getattr(importlib.import_module(module), maker)()
