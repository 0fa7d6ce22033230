"""The way to a first answer, and how much of it is imports. Every sample is a fresh process."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.app import app_folder
from bench.engine import ask, connect, engine_process
from bench.system import BenchError
from bench.table import Row
from tests.app import App

APP = "import function_app"
LIBRARIES = "import azure.functions, azure.durable_functions, azurefunctions.extensions.http.fastapi"
ENGINE = "import durabletask.client, durabletask.worker"
NOTHING = "pass"


def startup(samples: int) -> Iterator[Row]:
    """Time starts and imports, turn and turn about."""
    with app_folder() as folder:
        # One round that does not count: it compiles the fresh copy to bytecode and warms the disk cache.
        rounds = [_round(folder) for _ in range(samples + 1)][1:]
    app, engine, app_import, libraries, engine_import, bare = (list(column) for column in zip(*rounds, strict=True))
    yield Row("process start to first answered request", "ms", app, engine)
    yield Row("import of `function_app`; of durabletask's client and worker", "ms", app_import, engine_import)
    yield Row("import of the Azure Functions libraries alone", "ms", libraries, [])
    yield Row("a Python process that imports nothing", "ms", bare, bare)


def _round(folder: Path) -> tuple[float, ...]:
    imports = [_import(statement, folder) for statement in (APP, LIBRARIES, ENGINE, NOTHING)]
    return (_app_start(folder), _engine_start(), *imports)


def _app_start(folder: Path) -> float:
    host = App(folder).host
    began = time.perf_counter()
    with host:
        response = httpx.get(f"{host.url}/api/health", timeout=30)
        elapsed = time.perf_counter() - began
    if response.status_code != 200:
        raise BenchError(f"the app is not well: {response.text}")
    return 1000 * elapsed


def _engine_start() -> float:
    began = time.perf_counter()
    with engine_process() as (_, address), contextlib.closing(connect(address)) as client:
        ask(lambda: client.get_orchestration_state("none"))
        elapsed = time.perf_counter() - began
    return 1000 * elapsed


def _import(statement: str, folder: Path) -> float:
    began = time.perf_counter()
    # Without the interpreter's own clearing up at the end, which nobody waits for.
    command = [sys.executable, "-c", f"{statement}; import os; os._exit(0)"]
    subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": ""}, check=True)
    return 1000 * (time.perf_counter() - began)
