"""A conversation with one writer at a time: who may write, who waits, and who is next.

The lease is what makes a task the writer. It expires, so that a task that died cannot hold the thread for ever, and
every step of the task renews it. Those who wait stand in a queue; whoever leaves hands the lease to the first. Each
function takes the thread as stored and returns it as it should be stored; the store's ETag makes that atomic.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

LEASE = timedelta(seconds=180)
"""How long a task keeps the thread, or its place in the queue, without a sign of life. Longer than the longest time-out
of a shipped tool (30 s) and than a model's silence (120 s), so that a task that lives is not taken for dead."""

FIRST_SIGN = timedelta(seconds=75)
"""How long a task that waited has to take the thread it was given: twice as long as it sleeps between two looks, and a
little more. One that died in the queue holds up the next no longer."""

MAX_WAITING = 100
"""Tasks that may wait for one thread."""


@dataclass(frozen=True, slots=True)
class Place:
    """A task that holds the thread or waits for it, until `expires` unless it gives a sign of life."""

    task: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """What stands for the messages before number `upto`, in the model's words."""

    text: str
    upto: int


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation.

    Attributes:
        id: What `thread_key` makes of the user and the name, so that two users may use one name.
        name: The caller's name for it.
        length: How many messages it has. Messages are numbered from 0; one that is stored beyond this does not count.
        lease: The task that writes; None when the thread is free.
        queue: Tasks that wait, first come first.
    """

    id: str
    name: str
    tenant: str
    user: str
    created_at: datetime
    updated_at: datetime
    length: int = 0
    lease: Place | None = None
    queue: tuple[Place, ...] = ()
    summary: Summary = Summary("", 0)

    def writer(self, now: datetime) -> str | None:
        """The task that may write now."""
        return self.lease.task if self.lease and self.lease.expires > now else None


def thread_key(user: str, name: str) -> str:
    """Make a thread's id within its tenant."""
    return hashlib.sha256(f"{user}\0{name}".encode()).hexdigest()[:32]


class ThreadBusy(Exception):
    """Another task writes, and the caller did not want to wait, or too many wait already."""


class LeaseLost(Exception):
    """The task gave no sign of life for longer than LEASE, and another is writing now."""


def enter(thread: Thread, task: str, now: datetime) -> Thread:
    """Take the thread for a task; done again, it changes nothing.

    Raises:
        ThreadBusy: Another task has it or is waiting for it.
    """
    thread = _without_the_dead(thread, now)
    if thread.writer(now) == task:
        return thread
    if thread.lease or thread.queue:
        raise ThreadBusy(f"task {thread.lease.task if thread.lease else thread.queue[0].task} is writing this thread")
    return replace(thread, lease=Place(task, now + LEASE))


def enter_or_wait(thread: Thread, task: str, now: datetime) -> Thread:
    """Take the thread for a task, or stand in the queue; done again, it changes nothing.

    Raises:
        ThreadBusy: The queue is full.
    """
    thread = _without_the_dead(thread, now)
    if thread.writer(now) == task or any(place.task == task for place in thread.queue):
        return thread
    if not thread.lease and not thread.queue:
        return replace(thread, lease=Place(task, now + LEASE))
    if len(thread.queue) >= MAX_WAITING:
        raise ThreadBusy(f"{len(thread.queue)} tasks wait for this thread already")
    return replace(thread, queue=(*thread.queue, Place(task, now + LEASE)))


def stay(thread: Thread, task: str, now: datetime) -> Thread:
    """Give a sign of life while waiting: renew the place in the queue, and take the lease when it is this task's turn.

    A task that is not in the queue any more, because it was taken for dead, goes to its end.
    """
    thread = _promoted(_without_the_dead(_renewed(thread, task, now + LEASE), now), now)
    # Who finds that it is its turn gives a sign of life by that, so FIRST_SIGN is not for it: by a clock two minutes
    # ahead, such a lease would have run out at once.
    return hold(thread, task, now) if thread.lease and thread.lease.task == task else thread


def hold(thread: Thread, task: str, now: datetime) -> Thread:
    """Renew the writer's lease. Raises LeaseLost when the task was taken for dead and the thread given to another."""
    if not thread.lease or thread.lease.task != task:
        raise LeaseLost(f"task {task} lost the lease of thread {thread.id}")
    return replace(thread, lease=Place(task, now + LEASE))


def leave(thread: Thread, task: str, now: datetime) -> Thread:
    """Give up the lease, or the place in the queue; the first that waits gets the lease."""
    thread = replace(thread, queue=_others(thread.queue, task))
    if thread.lease and thread.lease.task == task:
        thread = replace(thread, lease=None)
    return _promoted(_without_the_dead(thread, now), now)


def _renewed(thread: Thread, task: str, expires: datetime) -> Thread:
    if thread.lease and thread.lease.task == task:
        return replace(thread, lease=Place(task, expires))
    if all(place.task != task for place in thread.queue):
        return replace(thread, queue=(*thread.queue, Place(task, expires)))
    queue = tuple(Place(task, expires) if place.task == task else place for place in thread.queue)
    return replace(thread, queue=queue)


def _without_the_dead(thread: Thread, now: datetime) -> Thread:
    lease = thread.lease if thread.lease and thread.lease.expires > now else None
    return replace(thread, lease=lease, queue=tuple(place for place in thread.queue if place.expires > now))


def _promoted(thread: Thread, now: datetime) -> Thread:
    if thread.lease or not thread.queue:
        return thread
    first, *rest = thread.queue
    return replace(thread, lease=Place(first.task, now + FIRST_SIGN), queue=tuple(rest))


def _others(queue: tuple[Place, ...], task: str) -> tuple[Place, ...]:
    return tuple(place for place in queue if place.task != task)
