"""Entities and critical sections against a plain model of them.

The state of an entity is the list of the operations that it has performed, so it shows their order and their number.
"""

import json
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import durabletask.internal.orchestrator_service_pb2 as pb
import hypothesis.strategies as st
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from devhost.taskhub.state import MICROSECONDS, timestamp
from tests.taskhub import controlled
from tests.taskhub.controlled import ControlledHub

ENTITIES = ("@counter@a", "@counter@b", "@counter@c")
ORCHESTRATIONS = ("one", "two", "three")
entities = st.sampled_from(ENTITIES)
orchestrations = st.sampled_from(ORCHESTRATIONS)


@dataclass
class Operation:
    seq: int
    label: str
    caller: str | None = None
    due: int = 0


@dataclass
class Entity:
    performed: list[str] = field(default_factory=list[str])
    inbox: list[Operation] = field(default_factory=list[Operation])
    delayed: list[Operation] = field(default_factory=list[Operation])
    running: list[Operation] | None = None
    holder: str | None = None


@dataclass
class Section:
    id: str
    seq: int
    owner: str
    entities: list[str]
    granted: bool = False


class Entities(RuleBasedStateMachine):
    """A hub and a model of its entities, which are told the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hub-model-"))
        self.entities = {id: Entity() for id in ENTITIES}
        self.sections: list[Section] = []
        self.answers: defaultdict[str, list[str]] = defaultdict(list)
        self.received: defaultdict[str, list[str]] = defaultdict(list)
        self.numbers = 0
        self.hub = ControlledHub(self.folder, on_item=self.handed_out)

    def teardown(self) -> None:
        self.hub.close()
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        for id in ORCHESTRATIONS:
            self.start(id)

    def handed_out(self, item: pb.WorkItem) -> None:
        if item.HasField("orchestratorRequest"):
            return
        request = item.entityRequestV2
        entity = self.entities[request.instanceId]
        assert entity.running is None, "two batches at a time"
        entity.running = self.performable(request.instanceId)
        labels = [o.entityOperationCalled.operation or o.entityOperationSignaled.operation for o in operations(request)]
        assert labels == [operation.label for operation in entity.running]
        assert labels, "nothing to perform"
        assert json.loads(request.entityState.value or "[]") == entity.performed
        entity.inbox = [operation for operation in entity.inbox if operation not in entity.running]

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    # The model.

    def performable(self, id: str) -> list[Operation]:
        entity = self.entities[id]
        if entity.holder is not None:
            return [o for o in entity.inbox if o.caller == entity.holder]
        return [o for o in entity.inbox if o.seq < self.barrier(id)]

    def barrier(self, id: str) -> float:
        return min((s.seq for s in self.sections if not s.granted and id in s.entities), default=float("inf"))

    def grant(self) -> None:
        for section in self.sections:
            free = all(
                self.entities[id].holder is None
                and self.entities[id].running is None
                and self.barrier(id) == section.seq
                and not any(o.seq < section.seq for o in self.entities[id].inbox)
                for id in section.entities
            )
            if not section.granted and free:
                section.granted = True
                for id in section.entities:
                    self.entities[id].holder = section.owner
                self.answers[section.owner].append(section.id)

    def send(self, id: str, operation: Operation) -> None:
        entity = self.entities[id]
        (entity.delayed if operation.due > self.hub.now() else entity.inbox).append(operation)

    def release(self, owner: str) -> None:
        for section in [s for s in self.sections if s.owner == owner]:
            self.sections.remove(section)
            for id in section.entities if section.granted else ():
                self.entities[id].holder = None
        self.grant()

    def section_of(self, owner: str) -> Section | None:
        return next((section for section in self.sections if section.owner == owner), None)

    # Orchestrations.

    def start(self, id: str) -> None:
        self.answers[id].clear()
        self.received[id].clear()
        self.hub.ask(self.hub.hub.StartInstance(pb.CreateInstanceRequest(instanceId=id, name="Orchestrator")))
        self.drain()

    def drain(self) -> None:
        """Has orchestrators take what has come for them."""
        while episodes := self.hub.of_kind("orchestratorRequest"):
            self.decide(episodes[0])

    def decide(self, episode: pb.WorkItem, *actions: pb.OrchestratorAction) -> None:
        request = episode.orchestratorRequest
        for event in request.newEvents:
            if event.HasField("entityOperationCompleted"):
                self.received[request.instanceId].append(event.entityOperationCompleted.requestId)
            elif event.HasField("entityLockGranted"):
                self.received[request.instanceId].append(event.entityLockGranted.criticalSectionId)
        self.hub.answer(episode, *actions).result()

    def act(self, id: str, *actions: pb.OrchestratorAction) -> None:
        self.hub.ask(self.hub.hub.RaiseEvent(pb.RaiseEventRequest(instanceId=id, name="Go")))
        self.decide(self.hub.episode(id), *actions)
        self.drain()

    @rule(id=orchestrations, entity=entities, delay=st.sampled_from([0, 0, -5, 30]))
    def signal(self, id: str, entity: str, delay: int) -> None:
        operation = self.operation(delay)
        self.send(entity, operation)
        signal = pb.EntityOperationSignaledEvent(
            operation=operation.label, targetInstanceId=StringValue(value=entity), requestId=operation.label
        )
        if operation.due:
            signal.scheduledTime.CopyFrom(timestamp(operation.due))
        self.act(id, message(entityOperationSignaled=signal))

    @rule(entity=entities, delay=st.sampled_from([0, 0, 30]))
    def signal_by_a_client(self, entity: str, delay: int) -> None:
        operation = self.operation(delay)
        self.send(entity, operation)
        request = pb.SignalEntityRequest(instanceId=entity, name=operation.label, requestId=operation.label)
        if operation.due:
            request.scheduledTime.CopyFrom(timestamp(operation.due))
        self.hub.ask(self.hub.hub.SignalEntity(request))

    def operation(self, delay: int = 0, caller: str | None = None) -> Operation:
        due = self.hub.now() + delay * MICROSECONDS if delay else 0
        seq = self.number()
        return Operation(seq, f"operation {seq}", caller, due)

    @rule(id=orchestrations, entity=entities)
    def call(self, id: str, entity: str) -> None:
        operation = self.operation(caller=id)
        self.send(entity, operation)
        call = pb.EntityOperationCalledEvent(
            operation=operation.label,
            requestId=operation.label,
            targetInstanceId=StringValue(value=entity),
            parentInstanceId=StringValue(value=id),
        )
        self.act(id, message(entityOperationCalled=call))

    @rule(id=orchestrations, chosen=st.sets(entities, min_size=1))
    def lock(self, id: str, chosen: set[str]) -> None:
        if self.section_of(id) is None:
            seq = self.number()
            section = Section(f"section {seq}", seq, id, sorted(chosen))
            self.sections.append(section)
            self.grant()
            request = pb.EntityLockRequestedEvent(
                criticalSectionId=section.id, lockSet=section.entities, parentInstanceId=StringValue(value=id)
            )
            self.act(id, message(entityLockRequested=request))

    @rule(id=orchestrations)
    def unlock(self, id: str) -> None:
        section = self.section_of(id)
        if section is not None and section.granted:
            self.release(id)
            self.act(
                id,
                *(
                    message(
                        entityUnlockSent=pb.EntityUnlockSentEvent(
                            criticalSectionId=section.id,
                            targetInstanceId=StringValue(value=entity),
                            parentInstanceId=StringValue(value=id),
                        )
                    )
                    for entity in section.entities
                ),
            )

    @rule(id=orchestrations)
    def end_and_start_anew(self, id: str) -> None:
        self.release(id)
        self.act(id, controlled.end())
        for entity in self.entities.values():
            # Its calls are performed, but for nobody.
            for operation in [*entity.inbox, *(entity.running or ())]:
                operation.caller = "nobody" if operation.caller == id else operation.caller
        self.start(id)

    # The entities' worker.

    @precondition(lambda self: self.hub.of_kind("entityRequestV2"))
    @rule(data=st.data(), all_of_them=st.sampled_from([True, True, False]), signals=st.none() | entities)
    def perform(self, data: st.DataObject, all_of_them: bool, signals: str | None) -> None:
        items = self.hub.of_kind("entityRequestV2")
        item = items[data.draw(st.integers(0, len(items) - 1))]
        del self.hub.items[item.completionToken]
        entity = self.entities[item.entityRequestV2.instanceId]
        assert entity.running is not None
        done = entity.running if all_of_them else entity.running[:1]
        entity.inbox[:0], entity.running = entity.running[len(done) :], None
        entity.performed.extend(operation.label for operation in done)
        for operation in done:
            if operation.caller in ORCHESTRATIONS:
                self.answers[operation.caller].append(operation.label)
        result = pb.EntityBatchResult(
            results=[pb.OperationResult(success=pb.OperationResultSuccess())] * len(done),
            entityState=StringValue(value=json.dumps(entity.performed)),
            completionToken=item.completionToken,
        )
        if signals is not None:
            sent = self.operation()
            self.send(signals, sent)
            result.actions.add().sendSignal.CopyFrom(pb.SendSignalAction(instanceId=signals, name=sent.label))
        self.grant()
        self.hub.ask(self.hub.hub.CompleteEntityTask(result))
        self.hub.ask(self.hub.hub.CompleteEntityTask(result))
        self.drain()

    @precondition(lambda self: self.hub.of_kind("entityRequestV2"))
    @rule()
    def abandon(self) -> None:
        item = self.hub.of_kind("entityRequestV2")[0]
        del self.hub.items[item.completionToken]
        entity = self.entities[item.entityRequestV2.instanceId]
        entity.inbox[:0], entity.running = entity.running or [], None
        self.hub.hub.work.abandon(item.completionToken)
        self.hub.idle()

    # Time, crashes, cleaning.

    @rule(seconds=st.sampled_from([10, 100]))
    def time_passes(self, seconds: int) -> None:
        self.hub.loop.seconds += seconds
        self.ring(by_time=True)
        self.hub.idle()

    def ring(self, *, by_time: bool) -> None:
        for entity in self.entities.values():
            due = [o for o in entity.delayed if o.due <= self.hub.now()]
            entity.delayed = [o for o in entity.delayed if o not in due]
            entity.inbox.extend(sorted(due, key=lambda o: (o.due if by_time else 0, o.seq)))

    @rule(killed=st.booleans())
    def end_of_the_host(self, killed: bool) -> None:
        for entity in self.entities.values():
            entity.inbox = sorted([*entity.inbox, *(entity.running or ())], key=lambda o: o.seq)
            entity.running = None
        self.grant()
        if killed:
            self.hub.crash()
        else:
            self.hub.restart()
        self.drain()

    @rule()
    def clean(self) -> None:
        request = pb.CleanEntityStorageRequest(removeEmptyEntities=True, releaseOrphanedLocks=True)
        cleaned = self.hub.ask(self.hub.hub.CleanEntityStorage(request))
        assert cleaned.orphanedLocksReleased == 0

    # What always holds.

    @invariant()
    def the_disk_has_what_was_performed(self) -> None:
        assert self.hub.failure is None
        for id, entity in self.entities.items():
            found = self.hub.hub.queries.entity(id)
            assert json.loads((found and found.state) or "[]") == entity.performed

    @invariant()
    def callers_are_answered_once_and_in_order(self) -> None:
        assert self.received == self.answers

    @invariant()
    def whatever_can_be_performed_is(self) -> None:
        running = {item.entityRequestV2.instanceId for item in self.hub.of_kind("entityRequestV2")}
        assert running == {id for id, entity in self.entities.items() if entity.running is not None}
        assert not [id for id in ENTITIES if id not in running and self.performable(id)]

    @invariant()
    def only_entities_with_something_to_do_are_in_memory(self) -> None:
        idle = {id for id, e in self.entities.items() if not e.inbox and e.running is None and e.holder is None}
        waited_for = {id for section in self.sections for id in section.entities}
        assert not (idle - waited_for) & set(self.hub.hub._entities.active)


def operations(request: pb.EntityRequest) -> list[pb.HistoryEvent]:
    return list(request.operationRequests)


def message(**sent: object) -> pb.OrchestratorAction:
    return pb.OrchestratorAction(id=1, sendEntityMessage=pb.SendEntityMessageAction(**sent))


TestEntities = Entities.TestCase
TestEntities.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
