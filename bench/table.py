"""From samples to a table that can be pasted into a Markdown file."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

HEADINGS = ("", "unit", "runs", "on the devhost", "bare durabletask engine")
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement of both systems. An empty sequence: that system has nothing alike."""

    what: str
    unit: str
    perdure: Sequence[float]
    engine: Sequence[float]

    def cells(self) -> tuple[str, ...]:
        runs = max(len(self.perdure), len(self.engine))
        return (self.what, self.unit, str(runs), summary(self.perdure), summary(self.engine))


def summary(samples: Sequence[float]) -> str:
    """The median, and after it the tenth and the ninetieth percentile when there are several samples."""
    if not samples:
        return NOTHING
    median = number(statistics.median(samples))
    if len(samples) == 1:
        return median
    deciles = statistics.quantiles(samples, n=10, method="inclusive")
    return f"{median} ({number(deciles[0])}–{number(deciles[-1])})"


def number(value: float) -> str:
    """Three significant digits; whole numbers from 100 on."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}"


def header() -> str:
    return f"{line(HEADINGS)}\n{line(['---', '---', '--:', '--:', '--:'])}"


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
