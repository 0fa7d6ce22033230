"""What is exported where, from OpenTelemetry's own variables and Application Insights'.

Their defaults are not ours: OpenTelemetry's is to send everything to a collector on this machine, and on a laptop there
is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

SIGNALS = ("TRACES", "METRICS", "LOGS")
OTLP, CONSOLE, AZURE_MONITOR, NONE = "otlp", "console", "azure_monitor", "none"


class TelemetryError(Exception):
    """A setting is wrong. The message names it and says what would be right."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where traces, metrics and logs go: some of `otlp`, `console` and `azure_monitor`, for each."""

    traces: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.traces or self.metrics or self.logs)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Telemetry":
        """Read the settings. What no variable chooses goes to Application Insights and to the OTLP endpoint, if any.

        Raises:
            TelemetryError: One of them is wrong.
        """

        def text(name: str) -> str:
            return environ.get(name, "").strip()

        if text("OTEL_SDK_DISABLED").lower() == "true":
            return cls()
        known = {
            AZURE_MONITOR: bool(text("APPLICATIONINSIGHTS_CONNECTION_STRING")),
            OTLP: bool(text("OTEL_EXPORTER_OTLP_ENDPOINT")),
        }
        default = ",".join(exporter for exporter, chosen in known.items() if chosen)
        return cls(
            _exporters("OTEL_TRACES_EXPORTER", text("OTEL_TRACES_EXPORTER") or default, known),
            _exporters("OTEL_METRICS_EXPORTER", text("OTEL_METRICS_EXPORTER") or default, known),
            _exporters("OTEL_LOGS_EXPORTER", text("OTEL_LOGS_EXPORTER") or default, known),
        )


def _exporters(name: str, value: str, known: Mapping[str, bool]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if wrong := [one for one in chosen if one not in (OTLP, CONSOLE, AZURE_MONITOR, NONE)]:
        raise TelemetryError(f"{name} has {wrong[0]!r}; it may have otlp, console, azure_monitor, or none")
    if AZURE_MONITOR in chosen and not known[AZURE_MONITOR]:
        raise TelemetryError(f"{name} has azure_monitor, but APPLICATIONINSIGHTS_CONNECTION_STRING is not set")
    return () if NONE in chosen else chosen
