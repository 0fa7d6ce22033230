"""Sends messages: they are written, and then received by an orchestration or an entity, in the order of sending."""

from collections.abc import Callable, Iterable

import durabletask.internal.orchestrator_service_pb2 as pb

from devhost.taskhub.alarm import Alarm
from devhost.taskhub.state import Batch, Message, now, timestamp

ENTITY = "@"
"""First character of the id of every entity, and of no orchestration."""

type Receive = Callable[[Message], None]


class Post:
    """Hands every message to the one who receives it.

    Args:
        last: The highest number that anything in the file has.
    """

    def __init__(self, alarm: Alarm, last: int) -> None:
        self._alarm = alarm
        self._last = last
        self.orchestrations: Receive
        self.accepts: Callable[[str, int | None], bool]
        self.entities: Receive

    def number(self) -> int:
        """The next place in the order of all messages; also names executions, so that no name comes twice."""
        self._last += 1
        return self._last

    def send(
        self,
        batch: Batch,
        target: str,
        event: pb.HistoryEvent,
        *,
        execution: int | None = None,
        due: int | None = None,
    ) -> Message | None:
        """Adds a message to a batch.

        Args:
            execution: The only execution of an orchestration that may receive it.
            due: When it may be received; None: at once.

        Returns:
            The message; None if nobody would receive it, for that orchestration or execution has ended.
        """
        if not target.startswith(ENTITY) and not self.accepts(target, execution):
            return None
        event.eventId = -1
        event.timestamp.CopyFrom(timestamp(now()))
        message = Message(self.number(), target, event, execution, due)
        batch.add(
            "INSERT INTO messages (seq, target, execution, due, event) VALUES (?, ?, ?, ?, ?)",
            message.seq,
            target,
            execution,
            due,
            event.SerializeToString(),
        )
        if target.startswith(ENTITY):
            # What an entity does has effects, so the operation must be certain first.
            batch.then.append(lambda: self.deliver(message))
        else:
            self.deliver(message)
        return message

    def deliver(self, message: Message) -> None:
        """Hands a written message over when it is due."""
        if message.due is not None and message.due > now():
            self._alarm.at(message.due, message.seq, lambda: self._hand_over(message))
        else:
            self._hand_over(message)

    def cancel(self, seqs: Iterable[int]) -> None:
        """Forgets messages that are not due yet."""
        for seq in seqs:
            self._alarm.cancel(seq)

    def _hand_over(self, message: Message) -> None:
        if message.due is not None:
            # Histories tell when a timer fired, and not when it was set.
            message.event.timestamp.CopyFrom(timestamp(now()))
        (self.entities if message.target.startswith(ENTITY) else self.orchestrations)(message)
