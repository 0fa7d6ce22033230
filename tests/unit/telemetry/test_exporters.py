"""The SDK and the exporters, each time in a process of its own, for they are set once in a process."""

import json
from pathlib import Path

from tests.unit.test_repository import in_a_fresh_process

CONNECTION = "InstrumentationKey=00000000-0000-0000-0000-000000000000;IngestionEndpoint=https://127.0.0.1:9/"

AZURE = """
import json, sys, threading
from opentelemetry import _logs, metrics, trace
from perdure.bootstrap import start_telemetry
loaded_before = "opentelemetry.sdk" in sys.modules
start_telemetry()
[processor] = trace.get_tracer_provider()._active_span_processor._span_processors
exporter = processor.span_exporter
print(json.dumps({
    "before": loaded_before,
    "exporter": type(exporter).__name__,
    "credential": type(exporter._credential).__name__,
    "service": trace.get_tracer_provider().resource.attributes["service.name"],
    "providers": [type(provider).__module__.split(".")[1] for provider in
                  (_logs.get_logger_provider(), metrics.get_meter_provider(), trace.get_tracer_provider())],
}))
"""


def test_in_azure_everything_goes_to_application_insights_as_the_apps_identity() -> None:
    """Settings as infra/modules/function_app.bicep has them. Asked of private names: the exporter tells nobody."""
    said = in_a_fresh_process(
        AZURE,
        APPLICATIONINSIGHTS_CONNECTION_STRING=CONNECTION,
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING="ClientId=00000000-0000-0000-0000-000000000001;Authorization=AAD",
        WEBSITE_SITE_NAME="func-perdure",
        APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL="true",
    )
    assert json.loads(said) == {
        "before": False,
        "exporter": "AzureMonitorTraceExporter",
        "credential": "ManagedIdentityCredential",
        "service": "func-perdure",
        "providers": ["sdk", "sdk", "sdk"],
    }


BROKEN = """
from perdure.bootstrap import services, start_telemetry
start_telemetry()
print(type(services()).__name__)
"""


def test_exporters_that_cannot_be_made_do_not_stop_the_app(tmp_path: Path) -> None:
    state = f"sqlite:{tmp_path / 'state.db'}"
    settings = {"APPLICATIONINSIGHTS_CONNECTION_STRING": "nonsense", "PERDURE_STATE": state}
    assert in_a_fresh_process(BROKEN, **settings) == "Services"


BREAKERS = """
import json
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
from perdure.telemetry import metrics as ours
def seen():
    data = reader.get_metrics_data()
    found = [m for r in (data.resource_metrics if data else []) for s in r.scope_metrics for m in s.metrics]
    points = [p for m in found if m.name == "perdure.breaker.state" for p in m.data.data_points]
    return {p.attributes["perdure.breaker"]: p.value for p in points}
ours.breaker_changed("model gpt-x", ours.BreakerState.OPEN)
ours.breaker_changed("tool search", ours.BreakerState.HALF_OPEN)
first = seen()
ours.breaker_changed("model gpt-x", ours.BreakerState.CLOSED)
second = seen()
ours.FRESH_SECONDS = -1.0
print(json.dumps([first, second, seen()]))
"""


def test_a_breaker_shows_its_last_state_until_it_is_stale() -> None:
    """A process that has not looked for long falls silent: another may know better."""
    assert json.loads(in_a_fresh_process(BREAKERS)) == [
        {"model gpt-x": 2, "tool search": 1},
        {"model gpt-x": 0, "tool search": 1},
        {},
    ]


REDACTED = """
import json
from datetime import UTC, datetime
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
from perdure.domain.references import CallRef
from perdure.domain.task import Agent, Limits, Task
from perdure.telemetry import spans
agent = Agent("helper", "", "m", (), Limits(5, 60))
task = Task("task", "ann@example.com", "user", "?", None, agent, {}, datetime.now(UTC))
try:
    with spans.tool_call(task, CallRef("ann@example.com", "task", 1, 0), "echo"):
        raise RuntimeError("the colour is ultramarine")
except RuntimeError:
    [span] = exporter.get_finished_spans()
    print(json.dumps({**span.attributes, "said": span.status.description, "events": len(span.events)}))
"""


def test_attributes_are_redacted_and_an_error_is_told_by_its_kind_alone() -> None:
    said = json.loads(in_a_fresh_process(REDACTED))
    assert (said["perdure.tenant"], said["error.type"]) == ("[e-mail]", "RuntimeError")
    assert (said["said"], said["events"]) == (None, 0)
