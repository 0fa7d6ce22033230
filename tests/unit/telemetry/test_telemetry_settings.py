"""What is exported where."""

import pytest

from perdure.settings import Settings, SettingsError
from perdure.telemetry.settings import Telemetry

AZURE = {"APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=00000000-0000-0000-0000-000000000000"}
COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "exporters"),
    [
        ({}, ()),
        (COLLECTOR, ("otlp",)),
        (AZURE, ("azure_monitor",)),
        (AZURE | COLLECTOR, ("azure_monitor", "otlp")),
        (AZURE | {"OTEL_SDK_DISABLED": "true"}, ()),
        (COLLECTOR | {"OTEL_TRACES_EXPORTER": "none"}, ()),
        (COLLECTOR | {"OTEL_TRACES_EXPORTER": "console, otlp"}, ("console", "otlp")),
        (COLLECTOR | {"OTEL_TRACES_EXPORTER": " "}, ("otlp",)),
    ],
)
def test_traces_go_where_the_settings_say(environ: dict[str, str], exporters: tuple[str, ...]) -> None:
    assert Telemetry.from_env(environ).traces == exporters


def test_each_signal_is_chosen_for_itself() -> None:
    chosen = COLLECTOR | {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "console"}
    assert Telemetry.from_env(chosen) == Telemetry(("otlp",), (), ("console",))


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "'jaeger'; it may have otlp, console, azure_monitor, or none"),
        ({"OTEL_LOGS_EXPORTER": "azure_monitor"}, "APPLICATIONINSIGHTS_CONNECTION_STRING is not set"),
    ],
)
def test_a_wrong_setting_is_told_by_name(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_env(environ)
