"""The deployment package: the app without what .funcignore names, with its dependencies. Nothing is built in Azure.

    python .ci/package.py dist/perdure.zip
    python .ci/package.py dist/perdure.zip --task-hub scheduler    with a host.json for the Durable Task Scheduler

1. Files are copied as .funcignore allows.
2. Dependencies go to .python_packages/lib/site-packages, where Azure looks for them: as locked, for Linux on x86-64,
   whatever machine this is, without the tests that some of them bring along.
3. Dependencies and app are compiled, for a deployed package can be read-only.
4. The zip is the same whenever its content is.
"""

import argparse
import compileall
import json
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import zipfile
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEPENDENCIES = Path(".python_packages/lib/site-packages")
PLATFORM = "x86_64-manylinux_2_28"
"""Flex Consumption runs on Linux on x86-64 alone."""

SCHEDULER = {"type": "azureManaged", "connectionStringName": "DURABLE_TASK_SCHEDULER_CONNECTION_STRING"}
"""Not an app setting: what scales Flex Consumption reads host.json as it was deployed, and no setting that overrides it
(https://github.com/Azure/azure-functions-durable-extension/issues/2622)."""


class IgnoreError(Exception):
    """A line of .funcignore is of a kind that is not understood here."""


class Ignored:
    """What .funcignore leaves behind: `/name` in the root, `name` anywhere; `*` stands for any characters."""

    def __init__(self, text: str) -> None:
        lines = [line.rstrip() for line in text.splitlines()]
        self.patterns = [line for line in lines if line and not line.startswith("#")]
        for pattern in self.patterns:
            if pattern.startswith("!") or "/" in pattern[1:] or "**" in pattern or "[" in pattern:
                raise IgnoreError(f".funcignore: {pattern!r} is not understood; write /name or name, with * if need be")

    def covers(self, path: Path) -> bool:
        """Whether a path, relative to the root, is left behind itself; its parents are asked on their own."""
        in_root = len(path.parts) == 1
        return any(
            fnmatchcase(path.name, pattern.removeprefix("/")) and (in_root or not pattern.startswith("/"))
            for pattern in self.patterns
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python .ci/package.py", description=__doc__.splitlines()[0])
    parser.add_argument("to", type=Path, help="the zip")
    parser.add_argument("--task-hub", choices=["storage", "scheduler"], default="storage", help="default: %(default)s")
    options = parser.parse_args()
    if sys.version_info[:2] != (3, 13):
        parser.error(f"the app is compiled for Python 3.13, and this is {sys.version.split()[0]}")
    to: Path = options.to.resolve()
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), options.task_hub)
        to.parent.mkdir(parents=True, exist_ok=True)
        pack(Path(folder), to)
    sys.stdout.write(f"{to}: {to.stat().st_size / 1e6:.1f} MB\n")
    return 0


def build(folder: Path, task_hub: str) -> None:
    """Fill an empty folder with the package."""
    copy(folder, task_hub)
    install(folder / DEPENDENCIES)
    # Checked by nobody: times of files do not survive packing, and a check that fails means compiling at every start.
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, maxlevels=20, quiet=2, stripdir=str(folder), invalidation_mode=unchecked)


def copy(folder: Path, task_hub: str) -> None:
    ignored = Ignored((ROOT / ".funcignore").read_text("utf-8"))
    for parent, names, files in os.walk(ROOT):
        here = Path(parent).relative_to(ROOT)
        names[:] = sorted(name for name in names if not ignored.covers(here / name))
        for name in sorted(files):
            if not ignored.covers(here / name):
                (folder / here).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / here / name, folder / here / name)
    if task_hub == "scheduler":
        path = folder / "host.json"
        host = json.loads(path.read_text("utf-8"))
        host["extensions"]["durableTask"]["storageProvider"] = SCHEDULER
        path.write_text(json.dumps(host, indent=2) + "\n", "utf-8")


def install(target: Path) -> None:
    command = [
        sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-config", "--link-mode", "copy",
        "--target", str(target), "--python-version", "3.13", "--python-platform", PLATFORM,
        "--only-binary", ":all:", "--require-hashes", "--requirements", str(ROOT / "requirements.txt"),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    for name in ("tests", "test"):
        for folder in sorted(target.rglob(name), reverse=True):
            if folder.is_dir() and any(folder.rglob("test_*.py")):
                shutil.rmtree(folder)
    shutil.rmtree(target / "bin", ignore_errors=True)
    (target / ".lock").unlink(missing_ok=True)


def pack(folder: Path, to: Path) -> None:
    """Zip a folder: in order, with one date and one mode."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (2000, 1, 1, 0, 0, 0))
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
