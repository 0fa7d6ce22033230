"""What a task hub is to do, said as plainly as possible: no file, no batches, no worker.

A message or an event of a history is a tuple that begins with its kind (`told`). A copy of a `Model` is what
would be on the disk at that moment.
"""

from dataclasses import dataclass, field
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb

PENDING = pb.ORCHESTRATION_STATUS_PENDING
RUNNING = pb.ORCHESTRATION_STATUS_RUNNING
SUSPENDED = pb.ORCHESTRATION_STATUS_SUSPENDED
COMPLETED = pb.ORCHESTRATION_STATUS_COMPLETED
FAILED = pb.ORCHESTRATION_STATUS_FAILED
TERMINATED = pb.ORCHESTRATION_STATUS_TERMINATED
CONTINUED = pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
ENDED = frozenset({COMPLETED, FAILED, TERMINATED})

type Told = tuple[Any, ...]


def told(event: pb.HistoryEvent) -> Told:
    """An event, as far as the model knows it."""
    kind = event.WhichOneof("eventType")
    assert kind is not None
    e = getattr(event, kind)
    match kind:
        case "executionStarted":
            return (kind, e.name, e.input.value, e.version.value, dict(e.tags))
        case "eventRaised":
            return (kind, e.name, e.input.value)
        case "executionTerminated":
            return (kind, e.input.value, e.recurse)
        case "executionCompleted":
            return (kind, e.orchestrationStatus, e.result.value)
        case "taskCompleted" | "subOrchestrationInstanceCompleted":
            return (kind, e.taskScheduledId, e.result.value)
        case "taskFailed" | "subOrchestrationInstanceFailed":
            return (kind, e.taskScheduledId, e.failureDetails.errorType)
        case "timerFired":
            return (kind, e.timerId)
        case "taskScheduled":
            return (kind, event.eventId, e.input.value)
        case "timerCreated":
            return (kind, event.eventId)
        case "subOrchestrationInstanceCreated" | "eventSent":
            return (kind, event.eventId, e.instanceId)
        case _:
            return (kind,)


@dataclass
class Message:
    seq: int
    event: Told
    execution: int | None = None
    due: int | None = None


@dataclass
class Parent:
    id: str
    execution: int
    task: int


@dataclass
class Instance:
    """An orchestration.

    Attributes:
        clock: The latest time that its orchestrator was told, in completed episodes.
        running: How many messages the open episode was handed; None: none is open.
    """

    id: str
    name: str
    execution: int
    input: str = ""
    version: str = ""
    tags: dict[str, str] = field(default_factory=dict[str, str])
    parent: Parent | None = None
    start_at: int | None = None
    status: int = PENDING
    output: str = ""
    custom_status: str = ""
    clock: int = 0
    history: list[Told] = field(default_factory=list[Told])
    inbox: list[Message] = field(default_factory=list[Message])
    timers: list[Message] = field(default_factory=list[Message])
    running: int | None = None
    tasks: int = 0

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def waits(self, now: int) -> bool:
        """Whether its start is still to come."""
        return self.start_at is not None and self.start_at > now and not self.history

    def ready(self, now: int) -> bool:
        """Whether an episode is to be handed out."""
        if self.ended or self.running is not None or not self.inbox or self.waits(now):
            return False
        wakes = {"executionResumed", "executionTerminated"}
        return self.status != SUSPENDED or any(message.event[0] in wakes for message in self.inbox)


@dataclass
class Model:
    """The hub.

    Attributes:
        activities: Those without an answer by their unique inputs: orchestration, execution, task.
        numbers: Counts messages and executions.
    """

    instances: dict[str, Instance] = field(default_factory=dict[str, Instance])
    activities: dict[str, tuple[str, int, int]] = field(default_factory=dict[str, tuple[str, int, int]])
    numbers: int = 0

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def unfinished(self, instance_id: str) -> Instance | None:
        instance = self.instances.get(instance_id)
        return None if instance is None or instance.ended else instance

    # Clients.

    def start(self, instance: Instance) -> None:
        self.instances[instance.id] = instance
        started = ("executionStarted", instance.name, instance.input, instance.version, instance.tags)
        self.send(0, instance.id, started)

    def send(self, now: int, target: str, event: Told, *, execution: int | None = None, due: int | None = None) -> None:
        """Sends a message; to whom it is lost if nobody waits for it."""
        instance = self.unfinished(target)
        if instance is None or execution not in (None, instance.execution):
            return
        message = Message(self.number(), event, execution, due)
        (instance.timers if due is not None and due > now else instance.inbox).append(message)

    def terminate(self, now: int, target: str, output: str, *, recurse: bool) -> None:
        instance = self.unfinished(target)
        if instance is None:
            return
        if instance.waits(now):
            self._end(now, instance, TERMINATED, output, [])
            instance.history.append(("executionCompleted", TERMINATED, output))
        else:
            self.send(now, target, ("executionTerminated", output, recurse))

    def rewind(self, instance: Instance) -> None:
        instance.status, instance.output = RUNNING, ""
        self.send(0, instance.id, ("executionRewound",))

    def purge(self, ids: list[str], *, recursive: bool) -> int:
        before = len(self.instances)
        for instance_id in ids:
            instance = self.instances.get(instance_id)
            if instance is not None and instance.ended:
                del self.instances[instance_id]
                if recursive:
                    children = [i.id for i in self.instances.values() if i.parent and i.parent.id == instance_id]
                    self.purge(children, recursive=True)
        return before - len(self.instances)

    # Time, and the end of the host.

    def ring(self, now: int) -> None:
        """Lets timers fire that are due."""
        for instance in self.instances.values():
            due = [m for m in instance.timers if m.due is not None and m.due <= now]
            instance.timers = [m for m in instance.timers if m not in due]
            instance.inbox.extend(sorted(due, key=lambda m: (m.due or 0, m.seq)))

    def crash(self, now: int) -> None:
        """What is left of a hub that was killed: whatever ran is to run again."""
        for instance in self.instances.values():
            # A clock that was set back meanwhile makes a timer wait anew.
            waiting = sorted(instance.inbox + instance.timers, key=lambda m: m.seq)
            instance.timers = [m for m in waiting if m.due is not None and m.due > now]
            instance.inbox = [m for m in waiting if m not in instance.timers]
            instance.running = None

    # Workers.

    def hand_out(self, instance_id: str) -> list[Told]:
        """Begins an episode; what is new to the orchestrator."""
        instance = self.instances[instance_id]
        alone = instance.inbox[0].event[0] == "executionRewound"
        instance.running = 1 if alone else len(instance.inbox)
        return [("orchestratorStarted",), *(m.event for m in instance.inbox[: instance.running])]

    def take_back(self, instance: Instance) -> None:
        instance.running = None

    def answer(self, now: int, instance: Instance, clock: int, decided: list[Told], custom_status: str) -> None:
        """Ends an episode.

        Args:
            clock: The time that the orchestrator was told.
            decided: ("activity", task, input), ("timer", task, due), ("child", task, id), ("event", task, id, name,
                data), ("stop", id, output), and at last perhaps ("end", status, result) or ("again", input, carried) or
                ("rewritten",).
        """
        assert instance.running is not None
        received, instance.inbox = instance.inbox[: instance.running], instance.inbox[instance.running :]
        instance.running = None
        instance.clock = clock
        instance.custom_status = custom_status
        events: list[Told] = [("orchestratorStarted",), *(m.event for m in received)]
        instance.status = RUNNING if instance.status == PENDING else instance.status
        for event in events:
            if event[0] == "executionSuspended":
                instance.status = SUSPENDED
            elif event[0] == "executionResumed":
                instance.status = RUNNING
        last = decided[-1] if decided else ("",)
        for decision in decided:
            events.extend(self._carry_out(now, instance, decision))
        if last[0] == "rewritten":
            self._rewritten(now, instance, events)
        elif last[0] == "again":
            self._continue_as_new(now, instance, last[1], last[2])
        else:
            events.append(("orchestratorCompleted",))
            if last[0] == "end":
                self._end(now, instance, last[1], last[2], events)
                events.append(("executionCompleted", last[1], last[2]))
            instance.history.extend(events)

    def complete(self, now: int, label: str, answer: Told) -> None:
        """Ends an activity."""
        instance_id, execution, _ = self.activities.pop(label)
        self.send(now, instance_id, answer, execution=execution)

    def _carry_out(self, now: int, instance: Instance, decision: Told) -> list[Told]:
        match decision:
            case ("activity", task, label):
                self.activities[label] = (instance.id, instance.execution, task)
                return [("taskScheduled", task, label)]
            case ("timer", task, due):
                self.send(now, instance.id, ("timerFired", task), execution=instance.execution, due=due)
                return [("timerCreated", task)]
            case ("child", task, child_id):
                self._begin_child(now, instance, task, child_id)
                return [("subOrchestrationInstanceCreated", task, child_id)]
            case ("event", task, target, name, data):
                self.send(now, target, ("eventRaised", name, data))
                return [("eventSent", task, target)]
            case ("stop", target, output):
                self.terminate(now, target, output, recurse=False)
        return []

    def _begin_child(self, now: int, instance: Instance, task: int, child_id: str) -> None:
        parent = Parent(instance.id, instance.execution, task)
        if self.unfinished(child_id) is not None:
            failed = ("subOrchestrationInstanceFailed", task, "OrchestrationAlreadyExists")
            self.send(now, instance.id, failed, execution=instance.execution)
        else:
            self.start(Instance(child_id, "Child", self.number(), version=instance.version, parent=parent))

    def _end(self, now: int, instance: Instance, status: int, output: str, events: list[Told]) -> None:
        instance.status, instance.output = status, output
        instance.inbox, instance.timers, instance.running = [], [], None
        if (parent := instance.parent) is not None:
            self.send(now, parent.id, _answer_of(instance, parent.task), execution=parent.execution)
        ending = next((e for e in events if e[0] == "executionTerminated"), None)
        if status == TERMINATED and ending is not None and ending[2]:
            for other in list(self.instances.values()):
                if other.parent is not None and other.parent.id == instance.id:
                    self.terminate(now, other.id, ending[1], recurse=True)

    def _continue_as_new(self, now: int, instance: Instance, input: str, carried: list[Told]) -> None:
        arrived = [m.event for m in instance.inbox if m.execution is None]
        suspended = instance.status == SUSPENDED
        instance.execution, instance.input, instance.status = self.number(), input, PENDING
        instance.history, instance.inbox, instance.timers, instance.start_at = [], [], [], None
        instance.custom_status, instance.tasks = "", 0
        self.start(instance)
        for event in carried + [("executionSuspended",)] * suspended + arrived:
            self.send(now, instance.id, event)

    def _rewritten(self, now: int, instance: Instance, events: list[Told]) -> None:
        """Goes on from a history without what failed, and without what nobody answered."""
        instance.execution = self.number()
        instance.inbox = [m for m in instance.inbox if m.execution is None]
        answered = {e[1] for e in instance.history if e[0] in ("taskCompleted", "timerFired")}
        dropped = ("taskFailed", "subOrchestrationInstanceFailed", "executionCompleted")
        instance.history = [
            e
            for e in [*instance.history, *events]
            if e[0] not in dropped and not (e[0] in ("taskScheduled", "timerCreated") and e[1] not in answered)
        ]
        children = {e[1] for e in instance.history if e[0] == "subOrchestrationInstanceCompleted"}
        for event in list(instance.history):
            if event[0] == "subOrchestrationInstanceCreated" and event[1] not in children:
                self._rewind_child(now, instance, event[1], event[2])
        self.send(now, instance.id, ("genericEvent",), execution=instance.execution)

    def _rewind_child(self, now: int, instance: Instance, task: int, child_id: str) -> None:
        child = self.instances.get(child_id)
        if child is None or child.parent is None or (child.parent.id, child.parent.task) != (instance.id, task):
            self._begin_child(now, instance, task, child_id)
            return
        child.parent.execution = instance.execution
        if child.status == FAILED:
            self.rewind(child)
        elif child.ended:
            self.send(now, instance.id, _answer_of(child, task), execution=instance.execution)


def _answer_of(child: Instance, task: int) -> Told:
    if child.status == COMPLETED:
        return ("subOrchestrationInstanceCompleted", task, child.output)
    return ("subOrchestrationInstanceFailed", task, "Failure" if child.status == FAILED else "Terminated")
