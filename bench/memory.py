"""How much memory a process has, as Linux tells it."""

from pathlib import Path
from typing import Literal

type Field = Literal["VmHWM", "VmRSS"]
"""The kernel's names: the most resident memory the process ever had, and what it has now."""


def memory(pid: int, field: Field) -> list[float]:
    """Read one figure of a running process, in MB of 10^6 bytes.

    Returns:
        One number; none where there is no /proc, as on macOS and Windows.
    """
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return []
    fields = dict(line.split(":", 1) for line in path.read_text("utf-8").splitlines())
    # "   12345 kB", where the kernel's kB is 1,024 bytes.
    return [int(fields[field].split()[0]) * 1024 / 1e6]
