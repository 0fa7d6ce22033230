"""Two processes on one SQLite file at once, as when a second worker starts, or `make key` runs beside the app."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from perdure.documents.containers import TASKS
from perdure.documents.sqlite import SqliteDocuments

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
WRITES = 200
NAMES = ("one", "two")
PARTITION = ("tenant", "task")

WRITER = """
import asyncio, sys
from perdure.documents.containers import TASKS
from perdure.documents.port import DocumentChanged
from perdure.documents.sqlite import SqliteDocuments

file, name, writes = sys.argv[1], sys.argv[2], int(sys.argv[3])
PARTITION = ("tenant", "task")


async def write():
    documents = SqliteDocuments(file)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(writes):
        await documents.create(TASKS, PARTITION, {"id": f"{name}-{number:04}"})
        await documents.increment(TASKS, PARTITION, "counter", {"count": 1})
        while True:
            stored = await documents.read(TASKS, PARTITION, "list")
            body = {**stored.body, "written": stored.body["written"] + 1}
            try:
                await documents.replace(TASKS, PARTITION, body, stored.etag)
                break
            except DocumentChanged:
                pass
    await documents.close()


asyncio.run(write())
"""


async def test_two_processes_that_write_one_file_at_once_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    documents = SqliteDocuments(str(file))
    await documents.create(TASKS, PARTITION, {"id": "counter", "count": 0})
    await documents.create(TASKS, PARTITION, {"id": "list", "written": 0})
    writers = [start(file, name) for name in NAMES]
    for writer in writers:
        assert writer.stdout and writer.stdout.readline() == "ready\n"
    for writer in writers:
        # Both wait for this line, so neither has finished before the other begins.
        assert writer.stdin
        writer.stdin.write("go\n")
        writer.stdin.flush()
    said = [writer.communicate(timeout=60) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], said
    changes = await documents.changes(TASKS, PARTITION, None, 10 * WRITES)
    await documents.close()
    bodies = {change.body["id"]: change.body for change in changes}
    assert set(bodies) == {f"{name}-{number:04}" for name in NAMES for number in range(WRITES)} | {"counter", "list"}
    assert (bodies["counter"]["count"], bodies["list"]["written"]) == (2 * WRITES, 2 * WRITES)
    order = [change.body["id"].partition("-")[0] for change in changes if "-" in change.body["id"]]
    assert sum(before != after for before, after in pairwise(order)) > 1, "they took turns, and nothing was shown"


def start(file: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(file), name, str(WRITES)]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
