"""What a process takes of the machine, as Linux tells it."""

import os
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


def cpu_seconds(pid: int) -> float:
    """Seconds of processor time that a running process has had, of all its threads."""
    # The name, in brackets, may contain spaces; utime and stime are the 14th and 15th field.
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
