"""All orchestrations of a task hub, and what may be stuck."""

from dataclasses import dataclass

import durabletask.internal.orchestrator_service_pb2 as pb

from devhost.inspection.waits import OUTSIDE, Waits
from devhost.taskhub.client import UNFINISHED
from devhost.taskhub.post import ENTITY
from devhost.taskhub.queries import Queries
from devhost.taskhub.state import MICROSECONDS, Message, microseconds

OVERDUE_SECONDS = 5
"""A message that a host could have handed over is overdue after it: with a worker free it takes milliseconds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An orchestration, and what it waits for; nothing if it has ended."""

    state: pb.OrchestrationState
    waits_for: list[str]


@dataclass(frozen=True, slots=True)
class Stuck:
    """Something that has waited for some time.

    Attributes:
        since: When that began, as far as it is known.
        what: It.
        where: The orchestration or entity that it is about.
        note: What else there is to say.
    """

    since: int | None
    what: str
    where: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a hub's file says at one moment.

    Attributes:
        at: That moment.
        counts: Orchestrations by status.
        unfinished: The oldest of them.
        ended: The last that have ended, newest first.
        activities: Those without a result, oldest first.
        overdue: Messages that nobody took.
        locks: Critical sections that hold entities.
        outside: Orchestrations which nothing in the hub will wake, oldest first.
    """

    at: int
    counts: dict[pb.OrchestrationStatus, int]
    unfinished: list[Seen]
    ended: list[Seen]
    activities: list[Stuck]
    overdue: list[Stuck]
    locks: list[Stuck]
    outside: list[Stuck]


def read_report(queries: Queries, at: int, most: int) -> Report:
    """Reads the file.

    Args:
        at: The time of the look.
        most: How many orchestrations of each sort to describe.
    """
    waits = Waits(queries, at)
    running = pb.InstanceQuery(runtimeStatus=sorted(UNFINISHED), maxInstanceCount=most, fetchInputsAndOutputs=True)
    states, _ = queries.instances(running)
    outside = [i for i in waits.instances.values() if not waits.of(i)]
    return Report(
        at,
        queries.counts(),
        [Seen(state, waits.of(waits.instances[state.instanceId]) or [OUTSIDE]) for state in states],
        [Seen(state, []) for state in queries.last_ended(most)],
        _open_activities(waits, queries),
        [_overdue(waits, message) for message in waits.messages if _is_overdue(waits, message)],
        _held(waits, queries),
        sorted((Stuck(i.clock, i.name, i.id) for i in outside), key=_age),
    )


def _age(stuck: Stuck) -> int:
    return stuck.since or 0


def _open_activities(waits: Waits, queries: Queries) -> list[Stuck]:
    """Only the history of its orchestration says when an activity was scheduled."""
    times: dict[tuple[str, int, int], int] = {}
    for owner in {key[0] for key, _ in waits.activities} & waits.instances.keys():
        instance = waits.instances[owner]
        for event in queries.history(instance).events:
            if event.HasField("taskScheduled"):
                times[owner, instance.execution, event.eventId] = microseconds(event.timestamp)
    found = [
        Stuck(times.get(key), request.name, key[0], "" if key in times else "its orchestration does not wait for it")
        for key, request in waits.activities
    ]
    return sorted(found, key=_age)


def _held(waits: Waits, queries: Queries) -> list[Stuck]:
    found: list[Stuck] = []
    for lock in (lock for lock in waits.locks if lock.granted):
        since = None
        if (holder := waits.instances.get(lock.instance)) is not None:
            since = next(
                (
                    microseconds(event.timestamp)
                    for event in queries.history(holder).events
                    if event.entityLockGranted.criticalSectionId == lock.section
                ),
                None,
            )
        locks = sum(not other.granted and not {*other.entities}.isdisjoint(lock.entities) for other in waits.locks)
        operations = sum(message.target in lock.entities for message in waits.messages)
        waiting = ((locks, "critical section"), (operations, "operation"))
        note = " and ".join(f"{count} {what}{'s' * (count > 1)}" for count, what in waiting if count)
        found.append(Stuck(since, ", ".join(lock.entities), lock.instance, note and f"{note} waiting"))
    return sorted(found, key=_age)


def _ready_since(message: Message) -> int:
    return message.due if message.due is not None else microseconds(message.event.timestamp)


def _is_overdue(waits: Waits, message: Message) -> bool:
    if waits.at - _ready_since(message) < OVERDUE_SECONDS * MICROSECONDS:
        return False
    if message.target.startswith(ENTITY):
        # What is held, or will be, is told with the locks.
        return not any(message.target in lock.entities for lock in waits.locks)
    instance = waits.instances.get(message.target)
    if instance is None or instance.status == pb.ORCHESTRATION_STATUS_SUSPENDED:
        return False
    return instance.start_at is None or instance.start_at <= waits.at


def _overdue(waits: Waits, message: Message) -> Stuck:
    kind = message.event.WhichOneof("eventType") or "nothing"
    return Stuck(_ready_since(message), kind, message.target)
