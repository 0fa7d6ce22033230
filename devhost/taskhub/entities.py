"""Entities: one batch of operations at a time each, and the critical sections that hold them.

An entity performs the operations it has received in their order. A critical section is granted on all its entities at
once, when none of them is held and each has performed what was sent to it before; until it ends, they perform the
operations of its orchestration alone.
"""

import json
from collections.abc import Callable
from functools import partial

import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.entities import EntityInstanceId
from google.protobuf.wrappers_pb2 import StringValue

from devhost.taskhub.post import Post
from devhost.taskhub.state import Batch, Entity, Instance, Lock, Message, microseconds, now, timestamp
from devhost.taskhub.work import Job, Kind, WorkItems

type Begin = Callable[[Batch, pb.StartNewOrchestrationAction], None]
type Write = Callable[[Batch], None]


class Entities:
    """All entities with something to do, and all critical sections.

    Args:
        load: Reads an entity that is not in memory; a new one if there is none.
        write: Makes a batch durable.
    """

    def __init__(self, post: Post, work: WorkItems, load: Callable[[str], Entity], write: Write) -> None:
        self._post = post
        self._work = work
        self._load = load
        self._write = write
        self.active: dict[str, Entity] = {}
        self.locks: dict[str, Lock] = {}
        post.entities = self.receive

    def receive(self, message: Message) -> None:
        """Takes a written operation."""
        entity = self._get(message.target)
        entity.inbox.append(message)
        self._wake(entity)

    def send(self, batch: Batch, instance: Instance, sent: pb.SendEntityMessageAction) -> pb.HistoryEvent:
        """Carries out what an orchestrator asks of entities; the event that its history keeps of it."""
        event = pb.HistoryEvent(timestamp=timestamp(now()))
        match sent.WhichOneof("EntityMessageType"):
            case "entityOperationSignaled":
                signal = sent.entityOperationSignaled
                due = microseconds(signal.scheduledTime) if signal.HasField("scheduledTime") else None
                operation = pb.HistoryEvent(entityOperationSignaled=signal)
                self._post.send(batch, signal.targetInstanceId.value, operation, due=due)
                event.entityOperationSignaled.CopyFrom(signal)
            case "entityOperationCalled":
                call = sent.entityOperationCalled
                # Only this execution knows the request, so only it is answered.
                call.parentExecutionId.value = str(instance.execution)
                self._post.send(batch, call.targetInstanceId.value, pb.HistoryEvent(entityOperationCalled=call))
                event.entityOperationCalled.CopyFrom(call)
            case "entityLockRequested":
                self._request(batch, instance, sent.entityLockRequested)
                event.entityLockRequested.CopyFrom(sent.entityLockRequested)
            case "entityUnlockSent":
                unlock = sent.entityUnlockSent
                self._unlock(batch, unlock.criticalSectionId, [unlock.targetInstanceId.value])
                event.entityUnlockSent.CopyFrom(unlock)
            case other:
                raise ValueError(f"an orchestrator cannot send {other} to an entity")
        return event

    def release(self, batch: Batch, instance_id: str) -> None:
        """Ends all critical sections of an orchestration, granted or not."""
        for lock in [lock for lock in self.locks.values() if lock.instance == instance_id]:
            self._unlock(batch, lock.section, list(lock.entities))

    def restore(self, lock: Lock) -> None:
        """Takes a critical section from the file."""
        self.locks[lock.section] = lock
        lock.written = True
        for entity_id in lock.entities if lock.granted else ():
            self._get(entity_id).locked_by = lock

    def complete(self, entity: Entity, result: pb.EntityBatchResult, begin: Begin) -> Batch:
        """Ends a batch of operations.

        Returns:
            The new state and all that the operations sent, to be written.
        """
        batch = Batch()
        received, entity.received = entity.received or [], None
        performed = received[: len(result.results)]
        entity.inbox[:0] = received[len(performed) :]
        entity.state = result.entityState.value if result.HasField("entityState") and result.entityState.value else None
        entity.modified = now()
        batch.add(
            "INSERT OR REPLACE INTO entities (id, state, modified) VALUES (?, ?, ?)",
            entity.id,
            entity.state,
            entity.modified,
        )
        batch.writes.extend(("DELETE FROM messages WHERE seq = ?", (message.seq,)) for message in performed)
        for message, outcome in zip(performed, result.results, strict=True):
            if message.event.HasField("entityOperationCalled"):
                self._answer(batch, message.event.entityOperationCalled, outcome)
        for action in result.actions:
            if action.HasField("sendSignal"):
                self.signal(batch, action.sendSignal)
            elif action.HasField("startNewOrchestration"):
                begin(batch, action.startNewOrchestration)
        entity.unwritten += 1
        batch.then.append(partial(self._performed, entity))
        return batch

    def signal(self, batch: Batch, signal: pb.SendSignalAction | pb.SignalEntityRequest, request_id: str = "") -> None:
        """Sends an operation that nobody waits for."""
        due = microseconds(signal.scheduledTime) if signal.HasField("scheduledTime") else None
        operation = pb.EntityOperationSignaledEvent(
            requestId=request_id,
            operation=signal.name,
            input=signal.input if signal.HasField("input") else None,
            targetInstanceId=StringValue(value=signal.instanceId),
        )
        if due is not None:
            operation.scheduledTime.CopyFrom(signal.scheduledTime)
        self._post.send(batch, signal.instanceId, pb.HistoryEvent(entityOperationSignaled=operation), due=due)

    def _answer(self, batch: Batch, call: pb.EntityOperationCalledEvent, outcome: pb.OperationResult) -> None:
        if outcome.HasField("failure"):
            details = outcome.failure.failureDetails
            failed = pb.EntityOperationFailedEvent(requestId=call.requestId, failureDetails=details)
            event = pb.HistoryEvent(entityOperationFailed=failed)
        else:
            output = outcome.success.result if outcome.success.HasField("result") else None
            done = pb.EntityOperationCompletedEvent(requestId=call.requestId, output=output)
            event = pb.HistoryEvent(entityOperationCompleted=done)
        execution = call.parentExecutionId.value
        self._post.send(
            batch, call.parentInstanceId.value, event, execution=int(execution) if execution.isdigit() else None
        )

    def _request(self, batch: Batch, instance: Instance, request: pb.EntityLockRequestedEvent) -> None:
        entities = sorted(set(request.lockSet))
        lock = Lock(request.criticalSectionId, self._post.number(), instance.id, instance.execution, entities)
        self.locks[lock.section] = lock
        batch.add(
            "INSERT OR REPLACE INTO locks (section, seq, instance, execution, entities, granted)"
            " VALUES (?, ?, ?, ?, ?, 0)",
            lock.section,
            lock.seq,
            lock.instance,
            lock.execution,
            json.dumps(lock.entities),
        )
        batch.then.append(partial(self._requested, lock))

    def _requested(self, lock: Lock) -> None:
        lock.written = True
        self.grant()

    def grant(self) -> None:
        """Grants whatever critical section can be granted."""
        for lock in sorted(self.locks.values(), key=lambda lock: lock.seq):
            if not lock.granted and all(self._is_free_for(self._get(entity), lock) for entity in lock.entities):
                lock.granted = True
                for entity in map(self._get, lock.entities):
                    entity.locked_by = lock
                    self._wake(entity)
                batch = Batch()
                batch.add("UPDATE locks SET granted = 1 WHERE section = ?", lock.section)
                granted = pb.EntityLockGrantedEvent(criticalSectionId=lock.section)
                self._post.send(
                    batch, lock.instance, pb.HistoryEvent(entityLockGranted=granted), execution=lock.execution
                )
                self._write(batch)

    def _is_free_for(self, entity: Entity, lock: Lock) -> bool:
        if not lock.written or entity.locked_by is not None or entity.received is not None:
            return False
        return self._barrier(entity) == lock.seq and not any(message.seq < lock.seq for message in entity.inbox)

    def _barrier(self, entity: Entity) -> int | None:
        """The first critical section that waits for an entity: what was sent later waits behind it."""
        waiting = (lock.seq for lock in self.locks.values() if not lock.granted and entity.id in lock.entities)
        return min(waiting, default=None)

    def _unlock(self, batch: Batch, section: str, entities: list[str]) -> None:
        lock = self.locks.get(section)
        if lock is None:
            return
        lock.entities = [entity for entity in lock.entities if entity not in entities]
        if lock.entities:
            batch.add("UPDATE locks SET entities = ? WHERE section = ?", json.dumps(lock.entities), section)
        else:
            del self.locks[section]
            batch.add("DELETE FROM locks WHERE section = ?", section)
        batch.then.append(partial(self._unlocked, lock, entities))

    def _unlocked(self, lock: Lock, entities: list[str]) -> None:
        for entity in map(self._get, entities):
            if entity.locked_by is lock:
                entity.locked_by = None
            self._wake(entity)
            self._settle(entity)
        self.grant()

    def _get(self, entity_id: str) -> Entity:
        entity = self.active.get(entity_id)
        if entity is None:
            entity = self.active[entity_id] = self._load(entity_id)
        return entity

    def _performed(self, entity: Entity) -> None:
        entity.unwritten -= 1
        self._settle(entity)

    def _settle(self, entity: Entity) -> None:
        self._wake(entity)
        self.grant()
        busy = entity.received is not None or entity.inbox or entity.locked_by is not None or entity.unwritten
        if not busy and self.active.get(entity.id) is entity:
            del self.active[entity.id]

    def _performable(self, entity: Entity) -> list[Message]:
        if (lock := entity.locked_by) is not None:
            return [m for m in entity.inbox if m.event.entityOperationCalled.parentInstanceId.value == lock.instance]
        barrier = self._barrier(entity)
        return [m for m in entity.inbox if barrier is None or m.seq < barrier]

    def _wake(self, entity: Entity) -> None:
        if entity.received is None and not entity.queued and self._performable(entity):
            entity.queued = True
            name = EntityInstanceId.parse(entity.id).entity
            build, give_back = partial(self._build, entity), partial(self._take_back, entity)
            self._work.offer(Job(Kind.ENTITY, name, entity, build, give_back))

    def _build(self, entity: Entity) -> pb.WorkItem | None:
        entity.queued = False
        operations = self._performable(entity)
        if entity.received is not None or not operations:
            return None
        entity.received = operations
        entity.inbox = [message for message in entity.inbox if message not in operations]
        request = pb.EntityRequest(
            instanceId=entity.id,
            entityState=None if entity.state is None else StringValue(value=entity.state),
            operationRequests=[message.event for message in operations],
        )
        return pb.WorkItem(entityRequestV2=request)

    def _take_back(self, entity: Entity) -> None:
        if entity.received is not None:
            entity.inbox[:0] = entity.received
            entity.received = None
            self._wake(entity)
