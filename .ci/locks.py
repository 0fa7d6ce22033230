"""The lock files: are they what pyproject.toml asks for, or make them so.

    python .ci/locks.py check
    python .ci/locks.py write [--upgrade]

Each file is resolved with its own pins preferred, so that nothing changes unless pyproject.toml did or an upgrade is
asked for.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPILE = ["-q", "--universal", "--python-version", "3.13", "--generate-hashes", "--no-header"]
LOCKS = {
    "requirements.txt": ["pyproject.toml"],
    "requirements-dev.txt": ["--group", "dev", "-c", "requirements.txt"],
    "requirements-infra.txt": ["--group", "infra"],
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python .ci/locks.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="fail when a lock file is not what pyproject.toml asks for")
    write = commands.add_parser("write", help="resolve them")
    write.add_argument("--upgrade", action="store_true", help="to the newest versions that pyproject.toml allows")
    arguments = parser.parse_args()
    if arguments.command == "write":
        resolve(ROOT, ["--upgrade"] if arguments.upgrade else [])
        return 0
    stale = stale_locks()
    if stale:
        sys.stderr.write(f"{', '.join(stale)}: not what pyproject.toml asks for; run 'make lock' and commit\n")
    return len(stale)


def stale_locks() -> list[str]:
    """The lock files that resolving would change."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("pyproject.toml", *LOCKS):
            shutil.copy(ROOT / file, folder)
        resolve(folder, [])
        return [lock for lock in LOCKS if (folder / lock).read_text() != (ROOT / lock).read_text()]


def resolve(folder: Path, options: list[str]) -> None:
    """Resolve each lock file from the pyproject.toml beside it."""
    for lock, sources in LOCKS.items():
        command = [sys.executable, "-m", "uv", "pip", "compile", *COMPILE, *options, *sources, "-o", lock]
        subprocess.run(command, cwd=folder, check=True)


if __name__ == "__main__":
    sys.exit(main())
