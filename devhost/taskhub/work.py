"""Work for workers: queues, the limits of each worker, and leases on what was handed out."""

import asyncio
import itertools
import secrets
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import durabletask.internal.orchestrator_service_pb2 as pb

DECLINED_SECONDS = 0.5
"""After which a job that a worker declined is handed out again: a worker declines a version that it does not know."""


class Kind(Enum):
    """What a work item is about."""

    ORCHESTRATION = "orchestration"
    ACTIVITY = "activity"
    ENTITY = "entity"


@dataclass(frozen=True, slots=True)
class Job[T]:
    """Something to be done by a worker.

    Attributes:
        name: Of the function.
        subject: What it is about, for who completes it.
        build: Makes the work item at the moment it is handed out; None if there is nothing to do any more.
        give_back: Called when the worker will not complete it: its lease ran out, it left, or it declined.
    """

    kind: Kind
    name: str
    subject: T
    build: Callable[[], pb.WorkItem | None]
    give_back: Callable[[], None]


class Worker(Protocol):
    """Runs work items, and completes each with its token."""

    def accept(self, item: pb.WorkItem) -> None:
        """Begins with an item, without waiting for its end."""
        ...


@dataclass(slots=True)
class _Attached:
    worker: Worker
    limits: Mapping[Kind, int]
    names: Mapping[Kind, frozenset[str]]
    busy: Counter[Kind] = field(default_factory=Counter[Kind])

    def takes(self, job: Job[Any]) -> bool:
        return job.kind not in self.names or job.name in self.names[job.kind]


@dataclass(frozen=True, slots=True)
class _Lease:
    job: Job[Any]
    holder: _Attached
    expiry: asyncio.TimerHandle


class WorkItems:
    """Hands out jobs in the order in which they came, as far as the limits of the workers go; the others wait.

    Args:
        lease_seconds: After which a job whose worker says nothing is handed out again. A completion that comes later
            still counts for nothing.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._loop = asyncio.get_running_loop()
        self._queues: dict[Kind, deque[Job[Any]]] = {kind: deque() for kind in Kind}
        self._workers: list[_Attached] = []
        self._leases: dict[str, _Lease] = {}
        # Those of an earlier run of the host must mean nothing in this one.
        self._run = secrets.token_hex(8)
        self._tokens = itertools.count(1)
        self._pumping = False

    def attach(
        self, worker: Worker, limits: Mapping[Kind, int], names: Mapping[Kind, frozenset[str]] | None = None
    ) -> None:
        """Lets a worker have work.

        Args:
            limits: How many items of each kind it runs at a time.
            names: The functions it has, for the kinds of which it does not have all.
        """
        self._workers.append(_Attached(worker, limits, names or {}))
        self._pump_soon()

    def detach(self, worker: Worker) -> None:
        """Gives a worker no more, and its unfinished work to others."""
        self._workers = [attached for attached in self._workers if attached.worker is not worker]
        for token in [token for token, lease in self._leases.items() if lease.holder.worker is worker]:
            self.abandon(token)

    def offer(self, job: Job[Any]) -> None:
        self._queues[job.kind].append(job)
        self._pump_soon()

    def complete(self, token: str) -> Job[Any] | None:
        """Ends a lease; None if there is none of that token: it was completed before, or handed out again."""
        lease = self._release(token)
        return lease.job if lease is not None else None

    def abandon(self, token: str) -> None:
        """Gives a job back."""
        if (lease := self._release(token)) is not None:
            lease.job.give_back()

    def decline(self, token: str) -> None:
        """Takes back a job that its worker does not want: for another, and not at once, for there may be none."""
        if (lease := self._release(token)) is not None:
            self._workers.sort(key=lambda worker: worker is lease.holder)
            self._loop.call_later(DECLINED_SECONDS, lease.job.give_back)

    def in_hand(self) -> int:
        """How many items workers have."""
        return len(self._leases)

    def close(self) -> None:
        """Forgets all work and all workers."""
        self._workers.clear()
        for token in list(self._leases):
            self._release(token)

    def _release(self, token: str) -> _Lease | None:
        lease = self._leases.pop(token, None)
        if lease is not None:
            lease.expiry.cancel()
            lease.holder.busy[lease.job.kind] -= 1
            self._pump_soon()
        return lease

    def _pump_soon(self) -> None:
        if not self._pumping and self._workers:
            self._pumping = True
            # Later in this turn of the loop, so that whatever else it brings is in the same work items.
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        for kind, queue in self._queues.items():
            unwanted: list[Job[Any]] = []
            while queue and (free := [w for w in self._workers if w.busy[kind] < w.limits[kind]]):
                job = queue.popleft()
                holder = next((worker for worker in free if worker.takes(job)), None)
                if holder is None:
                    unwanted.append(job)
                elif (item := job.build()) is not None:
                    self._hand_out(job, item, holder)
            queue.extendleft(reversed(unwanted))

    def _hand_out(self, job: Job[Any], item: pb.WorkItem, holder: _Attached) -> None:
        item.completionToken = f"{self._run}-{next(self._tokens)}"
        expiry = self._loop.call_later(self._lease_seconds, self.abandon, item.completionToken)
        self._leases[item.completionToken] = _Lease(job, holder, expiry)
        holder.busy[job.kind] += 1
        holder.worker.accept(item)
