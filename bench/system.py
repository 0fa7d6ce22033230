"""What a workload sees of a system under measurement, and how it waits for it."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

LOOK_SECONDS = 0.005
"""Pause between two looks at one task. An end is noticed half of it late on average."""

TASK_SECONDS = 120
"""After which a task counts as lost, and the run as failed."""


class BenchError(Exception):
    """A task did not do the work that was to be timed, or a system did not answer: there is no figure to report."""


class System(Protocol):
    """A running system. A task is: a model step, so many tool calls side by side, a model step, the result kept."""

    @property
    def pid(self) -> int:
        """The process that does all its work."""
        ...

    def start(self, calls: int) -> str:
        """Start a task and return its id once the system has accepted it."""
        ...

    def has_ended(self, task_id: str) -> bool:
        """Ask whether the newest task, which this is, has a result to read, as cheaply as the system allows."""
        ...

    def has_closed(self, task_id: str) -> bool:
        """Ask whether its orchestration has ended too."""
        ...

    def ended(self, since: float) -> set[str]:
        """Ask once for all ended tasks that were started since a time in seconds since the epoch."""
        ...

    def verify(self, task_ids: Iterable[str], calls: int) -> None:
        """Check that each task made its calls and was answered. Raises BenchError."""
        ...


@dataclass(frozen=True, slots=True)
class Timed:
    """One task, in seconds from the request that starts it.

    Attributes:
        accepted: Until the answer to that request.
        ended: Until a look finds its result.
        closed: Until a look finds that its orchestration has ended.
    """

    task_id: str
    accepted: float
    ended: float
    closed: float


def time_one(system: System, calls: int) -> Timed:
    """Run one task and make sure that it did its work."""
    began = time.perf_counter()
    task_id = system.start(calls)
    accepted = time.perf_counter() - began
    ended = _seconds_until(system.has_ended, task_id, began)
    closed = _seconds_until(system.has_closed, task_id, began)
    system.verify([task_id], calls)
    return Timed(task_id, accepted, ended, closed)


def _seconds_until(reached: Callable[[str], bool], task_id: str, began: float) -> float:
    while not reached(task_id):
        if time.perf_counter() - began > TASK_SECONDS:
            raise BenchError(f"a task did not end in {TASK_SECONDS} s")
        time.sleep(LOOK_SECONDS)
    return time.perf_counter() - began
