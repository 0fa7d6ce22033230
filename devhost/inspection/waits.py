"""What unfinished orchestrations wait for, as far as the file can tell.

That an orchestrator waits for an external event is written nowhere. It is what remains when nothing else is found.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

import durabletask.internal.orchestrator_service_pb2 as pb

from devhost.taskhub.post import ENTITY
from devhost.taskhub.queries import Queries
from devhost.taskhub.state import MICROSECONDS, Instance, Lock, Message

OUTSIDE = "an event from outside"


class Waits:
    """Everything in the file that is still to come.

    Attributes:
        at: The time of the look.
        instances: Unfinished orchestrations by their id.
        activities: Those without a result.
        messages: Those that were not received.
        locks: Critical sections, granted or requested.
    """

    def __init__(self, queries: Queries, at: int) -> None:
        self.at = at
        self.instances = {instance.id: instance for instance in queries.unfinished()}
        self.activities = list(queries.activities())
        self.messages = list(queries.messages())
        self.locks = list(queries.locks())
        self._children: defaultdict[str, list[str]] = defaultdict(list)
        self._running: defaultdict[str, list[str]] = defaultdict(list)
        self._arrived: defaultdict[str, list[Message]] = defaultdict(list)
        self._timers: defaultdict[str, list[int]] = defaultdict(list)
        self._calls: defaultdict[str, list[str]] = defaultdict(list)
        for instance in self.instances.values():
            if instance.parent is not None:
                self._children[instance.parent.id].append(instance.name)
        for (owner, execution, _), request in self.activities:
            if owner in self.instances and self.instances[owner].execution == execution:
                self._running[owner].append(request.name)
        for message in self.messages:
            self._sort_in(message)

    def of(self, instance: Instance) -> list[str]:
        """What could make an orchestration go on, in words; nothing if only somebody outside could."""
        if instance.start_at is not None and instance.start_at > self.at:
            return [f"its start {soon(instance.start_at - self.at)}"]
        if instance.status == pb.ORCHESTRATION_STATUS_SUSPENDED:
            return ["its resumption", *self._arrivals(instance)]
        found = self._arrivals(instance)
        found += [f"activity {name}" for name in _counted(self._running[instance.id])]
        found += [f"sub-orchestration {name}" for name in _counted(self._children[instance.id])]
        found += [f"an answer of {entity}" for entity in _counted(self._calls[instance.id])]
        found += [f"the lock of {', '.join(lock.entities)}" for lock in self.locks if self._is_of(lock, instance)]
        if timers := self._timers[instance.id]:
            found.append(f"a timer {soon(min(timers) - self.at)}")
        return found

    def _arrivals(self, instance: Instance) -> list[str]:
        count = len(self._arrived[instance.id])
        return [f"its turn, with {count} message{'s' if count > 1 else ''}"] if count else []

    def _is_of(self, lock: Lock, instance: Instance) -> bool:
        return not lock.granted and (lock.instance, lock.execution) == (instance.id, instance.execution)

    def _sort_in(self, message: Message) -> None:
        if message.target.startswith(ENTITY):
            if message.event.HasField("entityOperationCalled"):
                caller = message.event.entityOperationCalled.parentInstanceId.value
                self._calls[caller].append(message.target)
        elif message.due is not None and message.due > self.at:
            self._timers[message.target].append(message.due)
        else:
            self._arrived[message.target].append(message)


def long(duration: int) -> str:
    """A duration in microseconds, in words of a few characters."""
    seconds = max(0, duration) / MICROSECONDS
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, size, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def soon(duration: int) -> str:
    """When something is due."""
    return f"in {long(duration)}" if duration > 0 else "now"


def _counted(names: Iterable[str]) -> list[str]:
    return [name if count == 1 else f"{name} ×{count}" for name, count in sorted(Counter(names).items())]
