"""docs/observability.md tells of the metrics and attributes there are, and asks for no others."""

import re

from perdure.settings import ROOT
from perdure.telemetry import names

DOCUMENT = (ROOT / "docs" / "observability.md").read_text("utf-8")
METRICS = (ROOT / "perdure" / "telemetry" / "metrics.py").read_text("utf-8")
NAME = r"(?:gen_ai|perdure|http|error)\.[a-z_.]+"


def known_attributes() -> set[str]:
    return {value for name, value in vars(names).items() if name.isupper() and "." in value}


def known_metrics() -> set[str]:
    return set(re.findall(rf'"({NAME})"', METRICS))


def test_every_metric_is_documented_and_no_other() -> None:
    assert set(re.findall(rf"^\| `({NAME})`", DOCUMENT, re.MULTILINE)) == known_metrics()


def test_the_table_of_spans_and_the_queries_name_only_what_there_is() -> None:
    named = set(re.findall(rf"[`']({NAME})[`']", DOCUMENT))
    assert named <= known_attributes() | known_metrics()
    asked = set(re.findall(rf"Properties\['({NAME})'\]", DOCUMENT))
    assert asked <= known_attributes()


def test_every_attribute_of_a_span_is_documented() -> None:
    of_metrics_alone = {names.TOKEN_TYPE}
    assert known_attributes() - of_metrics_alone <= set(re.findall(rf"[`']({NAME})[`']", DOCUMENT))
