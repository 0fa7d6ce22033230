"""The deployment package: how large it is, and how long Azure would take to import it."""

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from bench.table import Row
from tests.devhost_process import REPOSITORY

DEPENDENCIES = ".python_packages/lib/site-packages"


def package(samples: int) -> Iterator[Row]:
    """Build the package as a deployment does, unpack it, and import the app from it with nothing else on the path."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as name:
        archive, folder = Path(name) / "perdure.zip", Path(name) / "wwwroot"
        command = [sys.executable, str(REPOSITORY / ".ci" / "package.py"), str(archive)]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        yield Row("building the deployment package", "s", [time.perf_counter() - began], [])
        with zipfile.ZipFile(archive) as packed:
            sizes = {entry.filename: entry.file_size for entry in packed.infolist()}
            packed.extractall(folder)
        own = sum(size for name, size in sizes.items() if not name.startswith(DEPENDENCIES))
        yield Row("deployment package, packed", "MB", [archive.stat().st_size / 1e6], [])
        yield Row("- unpacked", "MB", [sum(sizes.values()) / 1e6], [])
        yield Row("- of that the app itself", "MB", [own / 1e6], [])
        # One round that does not count: it warms the disk cache.
        compiled = [_import(folder) for _ in range(samples + 1)][1:]
        yield Row("- import of `function_app` from it", "ms", compiled, [])
        for cache in list(folder.rglob("__pycache__")):
            for file in cache.iterdir():
                file.unlink()
        yield Row("- the same if nothing in it were compiled", "ms", [_import(folder) for _ in range(samples)], [])


def _import(folder: Path) -> float:
    path = os.pathsep.join((str(folder / DEPENDENCIES), str(folder)))
    # As in Azure, where the package can be read-only: what is compiled is not kept.
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-P", "-c", "import function_app, os; os._exit(0)"]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return 1000 * (time.perf_counter() - began)
