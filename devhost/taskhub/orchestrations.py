"""Unfinished orchestrations: what each has received, and its episodes, one at a time.

1. `receive` puts a message into the inbox of its orchestration.
2. When a worker is free, `_build` hands it the history and all that has come: an episode begins.
3. `complete` writes what the orchestrator decided: the episode as one batch.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from functools import partial

import durabletask.internal.orchestrator_service_pb2 as pb
from google.protobuf.wrappers_pb2 import StringValue

from devhost.taskhub.alarm import Alarm
from devhost.taskhub.post import Post
from devhost.taskhub.state import Batch, Instance, Message, now, timestamp
from devhost.taskhub.work import Job, Kind, WorkItems

LONG_HISTORY = 200
"""Events from which on an orchestration rests after each replay, so that completions are replayed together."""

REST_PER_REPLAY = 4
"""How long it rests, in replays: they then take a fifth of the time at most, however many completions there are."""

LONGEST_REST_SECONDS = 1.0

type LoadHistory = Callable[[Instance], pb.HistoryChunk]


class Orchestrations:
    """All orchestrations that have not ended.

    Args:
        load_history: Reads the written events of an execution.
        changed: Told of an id whose written status has changed.
        gone: Releases what an orchestration holds, with a batch.

    Attributes:
        unfinished: By their ids; those that have ended, until that is written.
        forgotten: Ids of what is still in the file, and the batch that removes it.
    """

    def __init__(
        self,
        post: Post,
        work: WorkItems,
        alarm: Alarm,
        load_history: LoadHistory,
        changed: Callable[[str], None],
        gone: Callable[[Batch, str], None],
    ) -> None:
        self.unfinished: dict[str, Instance] = {}
        self.forgotten: dict[str, Batch] = {}
        self._post = post
        self._work = work
        self._alarm = alarm
        self._load_history = load_history
        self._changed = changed
        self.gone = gone
        self._loop = asyncio.get_running_loop()
        post.orchestrations, post.accepts = self.receive, self.accepts

    def get(self, instance_id: str) -> Instance | None:
        """An orchestration, unless it has ended."""
        instance = self.unfinished.get(instance_id)
        return instance if instance is not None and not instance.ended else None

    def accepts(self, instance_id: str, execution: int | None) -> bool:
        """Whether a message for that execution, or for any, will be received."""
        instance = self.get(instance_id)
        return instance is not None and execution in (None, instance.execution)

    def children(self, instance_id: str) -> list[str]:
        """Ids of the sub-orchestrations of an orchestration that have not ended."""
        return [i.id for i in self.unfinished.values() if i.parent and i.parent.id == instance_id and not i.ended]

    def begin(self, batch: Batch, instance: Instance, input: StringValue | None) -> None:
        """Adds a new orchestration to a batch, in the place of whatever had its id."""
        parent = instance.parent
        started = pb.ExecutionStartedEvent(
            name=instance.name,
            input=input,
            version=None if instance.version is None else StringValue(value=instance.version),
            orchestrationInstance=_identity(instance.id, instance.execution),
            parentTraceContext=instance.trace,
            tags=instance.tags,
        )
        if parent is not None:
            started.parentInstance.CopyFrom(
                pb.ParentInstanceInfo(
                    taskScheduledId=parent.task,
                    name=StringValue(value=parent.name),
                    orchestrationInstance=_identity(parent.id, parent.execution),
                )
            )
        if instance.start_at is not None:
            started.scheduledStartTimestamp.CopyFrom(timestamp(instance.start_at))
        self.forget(batch, instance.id)
        batch.add(
            "INSERT OR REPLACE INTO instances (id, execution, name, version, status, created, updated, start_at, input,"
            " trace, tags, parent_id, parent_execution, parent_task, parent_name)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            instance.id,
            instance.execution,
            instance.name,
            instance.version,
            instance.status,
            instance.created,
            max(now(), instance.clock),
            instance.start_at,
            None if input is None else input.value,
            None if instance.trace is None else instance.trace.SerializeToString(),
            json.dumps(instance.tags),
            *((None,) * 4 if parent is None else (parent.id, parent.execution, parent.task, parent.name)),
        )
        instance.ended = False
        self.unfinished[instance.id] = instance
        self._post.send(batch, instance.id, pb.HistoryEvent(executionStarted=started))
        batch.then.append(partial(self._changed, instance.id))

    def forget(self, batch: Batch, instance_id: str) -> None:
        """Adds the removal of all that an earlier orchestration of that id has left to a batch."""
        self.forgotten[instance_id] = batch
        batch.then.append(partial(self._forgot, batch, instance_id))
        if (earlier := self.unfinished.pop(instance_id, None)) is not None:
            earlier.ended = True
            self._post.cancel(earlier.timers)
            earlier.timers.clear()
            self.gone(batch, instance_id)
        batch.add("DELETE FROM messages WHERE target = ?", instance_id)
        batch.add("DELETE FROM history WHERE instance = ?", instance_id)

    def _forgot(self, batch: Batch, instance_id: str) -> None:
        if self.forgotten.get(instance_id) is batch:
            del self.forgotten[instance_id]

    def restore(self, instance: Instance) -> None:
        """Takes an orchestration from the file."""
        self.unfinished[instance.id] = instance

    def receive(self, message: Message) -> None:
        """Puts a message into an inbox; one for an execution that is over is dropped."""
        if not self.accepts(message.target, message.execution):
            return
        instance = self.unfinished[message.target]
        instance.timers.discard(message.seq)
        instance.inbox.append(message)
        self.wake(instance)

    def wake(self, instance: Instance) -> None:
        """Has an episode run if there is reason to."""
        if instance.start_at is not None and instance.start_at > now():
            if not instance.inbox or instance.queued:
                return
            instance.queued = True
            self._alarm.at(instance.start_at, self._post.number(), partial(self._begin, instance))
        elif self._ready(instance) and not instance.queued:
            instance.queued = True
            self._work.offer(
                Job(
                    Kind.ORCHESTRATION,
                    instance.name,
                    instance,
                    partial(self._build, instance),
                    partial(self._take_back, instance),
                )
            )

    def rest_is_over(self, instance: Instance) -> None:
        """Has what gathered while it rested replayed."""
        instance.resting = False
        self.wake(instance)

    def history(self, instance: Instance) -> Sequence[pb.HistoryEvent]:
        """All events of an execution, whether they are written or not."""
        if instance.history is None:
            instance.history = self._load_history(instance)
        return instance.history.events

    def new_events(self, instance: Instance) -> list[pb.HistoryEvent]:
        """What is new to the orchestrator in the episode that runs."""
        assert instance.received is not None
        started = pb.HistoryEvent(
            eventId=-1, timestamp=timestamp(instance.clock), orchestratorStarted=pb.OrchestratorStartedEvent()
        )
        return [started, *(message.event for message in instance.received)]

    def after(self, instance: Instance) -> None:
        """Decides when the next episode may run, now that one has been completed."""
        took = time.monotonic() - instance.began
        if instance.open_activities and instance.length > LONG_HISTORY:
            instance.resting = True
            rest = min(REST_PER_REPLAY * took, LONGEST_REST_SECONDS)
            self._loop.call_later(rest, self.rest_is_over, instance)
        else:
            self.wake(instance)

    def let_go(self, instance: Instance) -> None:
        """Now that an episode is written, keeps in memory what is needed: of what has ended, nothing; of what waits for
        events alone, no history."""
        instance.unwritten -= 1
        if not instance.unwritten:
            if instance.ended and self.unfinished.get(instance.id) is instance:
                del self.unfinished[instance.id]
            if instance.ended or not (instance.inbox or instance.open_activities or instance.received is not None):
                instance.history = None
        self._changed(instance.id)

    def _begin(self, instance: Instance) -> None:
        instance.queued = False
        self.wake(instance)

    def _ready(self, instance: Instance) -> bool:
        if instance.ended or instance.resting or instance.received is not None or not instance.inbox:
            return False
        if instance.status != pb.ORCHESTRATION_STATUS_SUSPENDED:
            return True
        return any(
            m.event.HasField("executionResumed") or m.event.HasField("executionTerminated") for m in instance.inbox
        )

    def _build(self, instance: Instance) -> pb.WorkItem | None:
        instance.queued = False
        if not self._ready(instance):
            return None
        past = self.history(instance)
        # The worker rewrites a history that ended in failure by itself, and wants nothing else to do meanwhile.
        alone = instance.inbox[0].event.HasField("executionRewound")
        count = 1 if alone else len(instance.inbox)
        instance.received, instance.inbox = instance.inbox[:count], instance.inbox[count:]
        instance.clock = max(now(), instance.clock)
        instance.began = time.monotonic()
        request = pb.OrchestratorRequest(
            instanceId=instance.id,
            executionId=StringValue(value=str(instance.execution)),
            pastEvents=past,
            newEvents=self.new_events(instance),
        )
        return pb.WorkItem(orchestratorRequest=request)

    def _take_back(self, instance: Instance) -> None:
        if instance.received is not None:
            instance.inbox[:0] = instance.received
            instance.received = None
            self.wake(instance)


def _identity(instance_id: str, execution: int) -> pb.OrchestrationInstance:
    return pb.OrchestrationInstance(instanceId=instance_id, executionId=StringValue(value=str(execution)))
