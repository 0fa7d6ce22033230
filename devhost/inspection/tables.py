"""How a report, or the history of one orchestration, looks in the terminal."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import durabletask.internal.orchestrator_service_pb2 as pb
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from devhost.inspection.report import Report, Seen, Stuck
from devhost.inspection.story import Line, tell
from devhost.inspection.waits import OUTSIDE, Waits, long
from devhost.management_json import RUNTIME_STATUS
from devhost.taskhub.state import FINISHED, MICROSECONDS, Instance, microseconds

PAYLOAD = 160
"""Characters of an input or a result that are shown."""

GLIMPSE = 80
"""The same where all orchestrations are listed."""

STUCK_ROWS = 10

_STYLES = {"Running": "cyan", "Pending": "yellow", "Suspended": "magenta", "Completed": "green", "Failed": "bold red"}


def render_report(report: Report, path: Path, *, in_use: bool) -> RenderableType:
    """All orchestrations, then what may be stuck."""
    parts: list[RenderableType] = [_heading(report, path, in_use=in_use)]
    if report.unfinished or report.ended:
        parts.append(_instances([*report.unfinished, *report.ended], report.at))
    ended = sum(count for status, count in report.counts.items() if status in FINISHED)
    for more, kind in (
        (sum(report.counts.values()) - ended - len(report.unfinished), "unfinished"),
        (ended - len(report.ended), "ended"),
    ):
        if more > 0:
            parts.append(Text(f"and {more:,} more {kind}: --rows N shows more", style="dim"))
    parts += [
        *_stuck("Open activities", "Activity", report.activities, report.at),
        *_stuck("Overdue messages: a free worker takes them in milliseconds", "Message", report.overdue, report.at),
        *_stuck("Held entities", "Entity", report.locks, report.at),
        *_stuck(f"Nothing in the hub will wake these, only {OUTSIDE}", "Orchestrator", report.outside, report.at),
    ]
    return Group(*parts)


def render_orchestration(
    state: pb.OrchestrationState, instance: Instance, waits: Waits, events: Iterable[pb.HistoryEvent]
) -> RenderableType:
    """One orchestration: what is known of it, and its history."""
    status = RUNTIME_STATUS[state.orchestrationStatus]
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")

    def fact(name: str, value: str | Text) -> None:
        if value:
            facts.add_row(name, value if isinstance(value, Text) else _plain(value))

    fact("orchestrator", Text(_printable(state.name), style="bold"))
    fact("id", state.instanceId)
    fact("status", Text(status, style=_STYLES.get(status, "")))
    if not instance.ended:
        fact("waits for", "; ".join(waits.of(instance)) or OUTSIDE)
    fact("created", _when(microseconds(state.createdTimestamp), waits.at))
    if instance.ended:
        ended = microseconds(state.completedTimestamp)
        took = long(ended - microseconds(state.createdTimestamp))
        fact("ended", f"{_when(ended, waits.at)}, after {took}")
    fact("version", state.version.value)
    fact("parent", f"{instance.parent.name} {instance.parent.id}" if instance.parent is not None else "")
    fact("tags", ", ".join(f"{name}={value}" for name, value in sorted(state.tags.items())))
    fact("input", _short(state.input.value))
    fact("custom status", _short(state.customStatus.value))
    fact("output", _short(state.output.value))
    if state.HasField("failureDetails"):
        details = state.failureDetails
        fact("failure", Text(_printable(f"{details.errorType}: {details.errorMessage}"), style="red"))
    # Without the lines of ~ and ^ of a traceback, which point at nothing once the lines above them are wrapped.
    trace = [line for line in state.failureDetails.stackTrace.value.splitlines() if line.strip(" ~^")]
    told = Text("\n".join(_printable(line) for line in ["", *trace]), style="dim")
    return Group(facts, _history(tell(events, waits.at)), *([told] if trace else []))


def _heading(report: Report, path: Path, *, in_use: bool) -> Text:
    counts = ", ".join(f"{count:,} {RUNTIME_STATUS[status].lower()}" for status, count in sorted(report.counts.items()))
    used = "a host uses it" if in_use else "no host uses it: nothing goes on"
    where = ("Task hub ", "dim"), (_printable(str(path)), "bold")
    return Text.assemble(*where, "\n", counts or "no orchestrations", (f"; {used}\n", "dim"))


def _instances(rows: Sequence[Seen], at: int) -> Table:
    """Two lines for each, so that an id stays on one, to be copied."""
    table = _table()
    table.add_column("Orchestration", overflow="fold", ratio=1)
    for name in ("Orchestrator", "Status", "Created"):
        table.add_column(name, no_wrap=True)
    table.add_column("Age", no_wrap=True, justify="right")
    for seen in rows:
        state = seen.state
        status, created = RUNTIME_STATUS[state.orchestrationStatus], microseconds(state.createdTimestamp)
        told = _waits(seen.waits_for) if seen.waits_for else _outcome(state)
        table.add_row(
            Group(_plain(state.instanceId), Padding(told, (0, 0, 0, 2))),
            _plain(state.name),
            Text(status, style=_STYLES.get(status, "")),
            _time(created, at),
            long(at - created),
        )
    return table


def _waits(waits_for: Sequence[str]) -> Text:
    return Text("… ", style="dim").append(_printable("; ".join(waits_for)), style="yellow")


def _outcome(state: pb.OrchestrationState) -> Text:
    failed = state.HasField("failureDetails")
    told = state.failureDetails.errorMessage if failed else state.output.value
    # A failure is why one looks.
    seen = _short(told) if failed else _short(told, GLIMPSE)
    return Text("→ ", style="dim").append(_printable(seen), style="red" if failed else "")


def _stuck(title: str, what: str, found: Sequence[Stuck], at: int) -> list[RenderableType]:
    if not found:
        return []
    table = _table(title)
    table.add_column(what, overflow="fold", ratio=3)
    table.add_column("Orchestration" if what != "Entity" else "Held by", overflow="fold", ratio=4)
    table.add_column("For", no_wrap=True, justify="right")
    table.add_column("", overflow="fold", ratio=3)
    for stuck in found[:STUCK_ROWS]:
        age = long(at - stuck.since) if stuck.since is not None else "?"
        table.add_row(_plain(stuck.what), _plain(stuck.where), age, _plain(stuck.note))
    more = len(found) - STUCK_ROWS
    return [table, *([Text(f"and {more:,} more", style="dim")] if more > 0 else [])]


def _history(lines: Sequence[Line]) -> Table:
    days = [datetime.fromtimestamp(line.at / MICROSECONDS).astimezone() for line in lines]
    table = _table(f"History, from {days[0]:%d %B %Y}" if days else "No history")
    table.add_column("At", no_wrap=True)
    table.add_column("Took", no_wrap=True, justify="right")
    table.add_column("What", no_wrap=True)
    table.add_column("", overflow="fold", ratio=1)
    for line, began, before in zip(lines, days, [*days[:1], *days], strict=False):
        if began.date() != before.date():
            table.add_row(Text(f"{began:%d %b}", style="dim"))
        style = "red" if line.failed else "yellow" if line.open else ""
        text = _plain(_short(line.text))
        if line.result:
            text.append(", " if line.open else " → ", style="dim")
            text.append(_printable(_short(line.result)), style=style)
        took = "open" if line.open else long(line.took) if line.took is not None else ""
        table.add_row(f"{began:%H:%M:%S}.{began.microsecond // 1000:03}", took, Text(line.what, style=style), text)
    return table


def _table(title: str | None = None) -> Table:
    return Table(
        title=f"\n{title}" if title is not None else None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        expand=True,
        header_style="dim",
        border_style="dim",
    )


def _when(moment: int, at: int) -> str:
    return f"{_time(moment, at)}, {long(at - moment)} ago"


def _time(moment: int, at: int) -> str:
    """In local time; with the date if that is another day's."""
    then, today = (datetime.fromtimestamp(value / MICROSECONDS).astimezone() for value in (moment, at))
    return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%b %d %H:%M}"


def _short(text: str, most: int = PAYLOAD) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def _plain(text: str) -> Text:
    return Text(_printable(text))


def _printable(text: str) -> str:
    """What came from outside must not steer the terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
