"""What the hub keeps in memory of what is unfinished, and the batch, which is how anything becomes durable.

Times are whole microseconds since 1970, in UTC.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

MICROSECONDS = 1_000_000

FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, which is what a Timestamp may say."""

FINISHED = frozenset(
    {pb.ORCHESTRATION_STATUS_COMPLETED, pb.ORCHESTRATION_STATUS_FAILED, pb.ORCHESTRATION_STATUS_TERMINATED}
)


class Batch:
    """Writes that become durable together, and what happens once they are.

    Attributes:
        writes: SQL with its parameters, in order.
        then: Called, in order, after the commit.
    """

    __slots__ = ("then", "writes")

    def __init__(self) -> None:
        self.writes: list[tuple[str, tuple[Any, ...]]] = []
        self.then: list[Callable[[], None]] = []

    def add(self, sql: str, *parameters: Any) -> None:
        self.writes.append((sql, parameters))


@dataclass(slots=True, eq=False)
class Message:
    """An event on its way to an orchestration or an entity.

    Attributes:
        seq: Place among all messages; it is received in this order.
        execution: The only execution of an orchestration that may receive it; None: any.
        due: When it may be received; None: at once.
    """

    seq: int
    target: str
    event: pb.HistoryEvent
    execution: int | None = None
    due: int | None = None


@dataclass(frozen=True, slots=True)
class Parent:
    """The orchestration that waits for another, which execution of it, and the id of its action."""

    id: str
    execution: int
    task: int
    name: str


@dataclass(slots=True, eq=False)
class Instance:
    """An orchestration that has not ended.

    Attributes:
        execution: A number that no other execution has, under whatever id; another one whenever it begins anew:
            continued as new, rewound, restarted. So nothing meant for an earlier execution reaches a later one.
        clock: The latest time that its orchestrator was told, which never goes back.
        start_at: When it may begin; None: at once, or it has begun.
        episodes: How many episodes this execution has had.
        unwritten: How many of them are in no committed batch yet.
        history: The events of this execution; None while they are in the file alone.
        inbox: Messages to receive, in order.
        timers: Numbers of the messages that are not due yet.
        queued: It waits for a free worker, or for its start.
        received: Messages that the running episode was handed; None: no episode runs.
        began: When that episode was handed out, by the monotonic clock in seconds.
        open_activities: Ids of the activities that this execution waits for.
        resting: A long history was replayed just now: completions gather before it is replayed again.
    """

    id: str
    name: str
    created: int
    execution: int
    version: str | None = None
    status: int = pb.ORCHESTRATION_STATUS_PENDING
    trace: pb.TraceContext | None = None
    tags: dict[str, str] = field(default_factory=dict[str, str])
    parent: Parent | None = None
    clock: int = 0
    start_at: int | None = None
    episodes: int = 0
    unwritten: int = 0
    history: pb.HistoryChunk | None = None
    inbox: list[Message] = field(default_factory=list[Message])
    timers: set[int] = field(default_factory=set[int])
    queued: bool = False
    received: list[Message] | None = None
    began: float = 0.0
    open_activities: set[int] = field(default_factory=set[int])
    resting: bool = False
    ended: bool = False

    @property
    def length(self) -> int:
        """Events of the history, as far as it is in memory."""
        return len(self.history.events) if self.history is not None else 0


@dataclass(slots=True, eq=False)
class Entity:
    """An entity with operations to perform, or one that was used lately.

    Attributes:
        state: Serialized; None: it has none, as after its deletion.
        locked_by: The critical section that holds it.
        queued: It waits for a free worker.
        received: Operations that are being performed; None: none.
        unwritten: How many of its batches of operations are in no committed batch yet.
    """

    id: str
    state: str | None = None
    modified: int = 0
    locked_by: "Lock | None" = None
    inbox: list[Message] = field(default_factory=list[Message])
    queued: bool = False
    received: list[Message] | None = None
    unwritten: int = 0


@dataclass(slots=True, eq=False)
class Lock:
    """A critical section of an orchestration: requested, or granted on all its entities at once.

    Attributes:
        seq: Its place among all messages: operations sent earlier are performed before it is granted.
        entities: Those still to be unlocked.
        written: Its request is in the file, and so is all that was sent before it.
    """

    section: str
    seq: int
    instance: str
    execution: int
    entities: list[str]
    granted: bool = False
    written: bool = False


def now() -> int:
    """The time of this machine's clock."""
    return time.time_ns() // 1000


def timestamp(at: int) -> Timestamp:
    return Timestamp(seconds=at // MICROSECONDS, nanos=at % MICROSECONDS * 1000)


def microseconds(stamp: Timestamp) -> int:
    """A moment; one outside the calendar is its first or last second, for the file takes no greater numbers."""
    return min(max(stamp.seconds, FIRST_SECOND), LAST_SECOND) * MICROSECONDS + stamp.nanos // 1000


def moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / MICROSECONDS, UTC)
