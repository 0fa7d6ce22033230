"""The command line of ``python -m devhost inspect``."""

import argparse
import os
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import durabletask.internal.orchestrator_service_pb2 as pb
from rich.console import Console, RenderableType

from devhost.config import DEFAULT_STATE, app_folder, apply_local_settings, load_host_config, state_folder
from devhost.errors import HostError, StateError
from devhost.inspection.report import Report, read_report
from devhost.inspection.tables import render_orchestration, render_report
from devhost.inspection.waits import Waits
from devhost.taskhub.file import UNREADABLE, in_use, open_to_read, state_error
from devhost.taskhub.queries import Queries
from devhost.taskhub.state import Instance, now

ROWS = 20
"""Orchestrations of each sort that are described if nobody says how many."""

WIDTH = 100
"""Columns where the output goes to a file, or to another program."""


def main(arguments: Sequence[str]) -> int:
    """Prints what a task hub keeps.

    Returns:
        The exit code: 0, or 1 if there is no such task hub or orchestration.
    """
    options = _parser().parse_args(arguments)
    console = Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=WIDTH)
    try:
        console.print(_look(options))
    except HostError as error:
        sys.stderr.write(f"devhost: {error}\n")
        return 1
    return 0


def _look(options: argparse.Namespace) -> RenderableType:
    folder, instance_id = _positions(options.app_dir, options.instance_id)
    app_dir = app_folder(folder)
    apply_local_settings(app_dir, os.environ)
    name = load_host_config(app_dir).durable_task.hub_name
    path = state_folder(app_dir, options.state) / f"{name}.db"
    with closing(open_to_read(path)) as connection:
        try:
            # All that is read is of one moment.
            connection.execute("BEGIN")
            seen = _read(Queries(connection), instance_id, options.rows)
        except (sqlite3.Error, *UNREADABLE) as error:
            raise state_error(path, error) from error
    match seen:
        case Report():
            return render_report(seen, path, in_use=in_use(path))
        case None:
            raise StateError(f"no orchestration '{instance_id}' in the task hub {path}")
        case state, instance, waits, events:
            return render_orchestration(state, instance, waits, events)


def _read(
    queries: Queries, instance_id: str | None, rows: int
) -> Report | tuple[pb.OrchestrationState, Instance, Waits, Sequence[pb.HistoryEvent]] | None:
    """All orchestrations or, with an id, that one; None if there is none."""
    if instance_id is None:
        return read_report(queries, now(), rows)
    state, instance = queries.state(instance_id, payloads=True), queries.instance(instance_id)
    if state is None or instance is None:
        return None
    return state, instance, Waits(queries, now()), queries.history(instance).events


def _positions(first: str, second: str | None) -> tuple[str, str | None]:
    """Folder and id: one argument that is no folder is an id."""
    if second is None and not Path(first).is_dir():
        return ".", first
    return first, second


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devhost inspect",
        description="Shows what the task hub of an app keeps: all orchestrations and what may be stuck, or the history"
        " of one. A host may use it meanwhile.",
    )
    parser.add_argument(
        "app_dir", nargs="?", default=".", metavar="APP_DIR", help="folder of host.json (default: .); may be left out"
    )
    parser.add_argument("instance_id", nargs="?", metavar="ID", help="an orchestration")
    parser.add_argument(
        "--state", metavar="DIR", help=f"folder that keeps orchestrations (default: {DEFAULT_STATE} in APP_DIR)"
    )
    parser.add_argument(
        "--rows", type=int, default=ROWS, metavar="N", help="orchestrations of each sort to show (default: %(default)s)"
    )
    return parser
