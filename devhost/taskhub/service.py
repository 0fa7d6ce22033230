"""The hub as a whole: the methods of Durable Task's gRPC service, for callers in this process."""

# ruff: noqa: N802 - the methods of the gRPC service keep their names

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import durabletask.internal.orchestrator_service_pb2 as pb
import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import BoolValue, StringValue

from devhost.taskhub.activities import Activities
from devhost.taskhub.alarm import Alarm
from devhost.taskhub.client import Clients, Refused
from devhost.taskhub.entities import Entities
from devhost.taskhub.episode import Episodes
from devhost.taskhub.file import UNREADABLE, HubFile, state_error
from devhost.taskhub.journal import Journal
from devhost.taskhub.orchestrations import Orchestrations
from devhost.taskhub.post import Post
from devhost.taskhub.queries import Queries
from devhost.taskhub.state import FINISHED, Batch, Entity, Instance, timestamp
from devhost.taskhub.work import WorkItems

LEASE_SECONDS = 1800.0
"""After which work that nobody completes is handed out again: the `functionTimeout` of most plans."""

HISTORY_CHUNK_EVENTS = 500


class TaskHub:
    """One task hub, on the running event loop.

    Args:
        path: Its file; made if there is none.
        durable: Wait for the disk at every commit.
        reuse_unfinished_ids: Starting an id that is still running replaces it.
        on_failure: Told once if the file cannot be written any more. The hub does nothing from then on.
        alarm: Where timers are set.

    Raises:
        StateError: The file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        durable: bool = True,
        reuse_unfinished_ids: bool = False,
        lease_seconds: float = LEASE_SECONDS,
        on_failure: Callable[[Exception], None],
        alarm: Alarm | None = None,
    ) -> None:
        self._file = HubFile(path, durable=durable)
        self._on_failure = on_failure
        self._journal = Journal(self._file.writer, self._failed)
        self.queries = Queries(self._file.reader)
        self._alarm = alarm or Alarm()
        self.work = WorkItems(lease_seconds)
        self._waiters: defaultdict[str, list[asyncio.Future[None]]] = defaultdict(list)
        self._broken: Exception | None = None
        post = Post(self._alarm, self.queries.last_number())
        self._entities = Entities(post, self.work, self._load_entity, self._journal.write)
        self._orchestrations = Orchestrations(
            post, self.work, self._alarm, self._load_history, self._changed, self._entities.release
        )
        self._activities = Activities(post, self.work)
        self._episodes = Episodes(self._orchestrations, self._activities, self._entities, post, self._find)
        self._clients = Clients(
            self._orchestrations,
            self._episodes,
            self._entities,
            post,
            self.queries,
            self._find,
            reuse_unfinished_ids=reuse_unfinished_ids,
        )
        try:
            self._take_up(post)
        except (sqlite3.Error, *UNREADABLE) as error:
            self._alarm.stop()
            self._file.close()
            raise state_error(path, error) from error

    async def close(self) -> None:
        """Ends all work, waits for what was acknowledged to be written, and closes the file."""
        self.work.close()
        self._alarm.stop()
        await self._journal.close()
        self._file.close()
        for waiter in [waiter for waiters in self._waiters.values() for waiter in waiters]:
            waiter.cancel()

    def _take_up(self, post: Post) -> None:
        """Goes on where the last run of the host stopped."""
        for instance in self.queries.unfinished():
            self._orchestrations.restore(instance)
        for lock in self.queries.locks():
            self._entities.restore(lock)
        for key, request in self.queries.activities():
            instance = self._orchestrations.get(key[0])
            if instance is not None and instance.execution == key[1]:
                instance.open_activities.add(key[2])
            self._activities.offer(key, request)
        for message in self.queries.messages():
            if (instance := self._orchestrations.get(message.target)) is not None and message.due is not None:
                instance.timers.add(message.seq)
            post.deliver(message)
        self._entities.grant()

    # Clients.

    async def Hello(self, request: Empty) -> Empty:
        return Empty()

    async def StartInstance(self, request: pb.CreateInstanceRequest) -> pb.CreateInstanceResponse:
        batch = Batch()
        instance_id = self._clients.start(batch, request)
        await self._written(batch)
        return pb.CreateInstanceResponse(instanceId=instance_id)

    async def GetInstance(self, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        state = self.queries.state(request.instanceId, payloads=request.getInputsAndOutputs)
        return pb.GetInstanceResponse(exists=state is not None, orchestrationState=state)

    async def WaitForInstanceStart(self, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        return await self._wait(request, lambda state: state.orchestrationStatus != pb.ORCHESTRATION_STATUS_PENDING)

    async def WaitForInstanceCompletion(self, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        return await self._wait(request, lambda state: state.orchestrationStatus in FINISHED)

    async def RaiseEvent(self, request: pb.RaiseEventRequest) -> pb.RaiseEventResponse:
        batch = Batch()
        input = request.input if request.HasField("input") else None
        raised = pb.EventRaisedEvent(name=request.name, input=input)
        self._clients.send(batch, request.instanceId, pb.HistoryEvent(eventRaised=raised))
        await self._written(batch)
        return pb.RaiseEventResponse()

    async def TerminateInstance(self, request: pb.TerminateRequest) -> pb.TerminateResponse:
        batch = Batch()
        self._clients.terminate(batch, request)
        await self._written(batch)
        return pb.TerminateResponse()

    async def SuspendInstance(self, request: pb.SuspendRequest) -> pb.SuspendResponse:
        batch = Batch()
        self._clients.suspend(batch, request)
        await self._written(batch)
        return pb.SuspendResponse()

    async def ResumeInstance(self, request: pb.ResumeRequest) -> pb.ResumeResponse:
        batch = Batch()
        reason = request.reason if request.HasField("reason") else None
        resumed = pb.HistoryEvent(executionResumed=pb.ExecutionResumedEvent(input=reason))
        self._clients.send(batch, request.instanceId, resumed)
        await self._written(batch)
        return pb.ResumeResponse()

    async def RewindInstance(self, request: pb.RewindInstanceRequest) -> pb.RewindInstanceResponse:
        batch = Batch()
        self._clients.rewind(batch, request)
        await self._written(batch)
        return pb.RewindInstanceResponse()

    async def RestartInstance(self, request: pb.RestartInstanceRequest) -> pb.RestartInstanceResponse:
        batch = Batch()
        instance_id = self._clients.restart(batch, request)
        await self._written(batch)
        return pb.RestartInstanceResponse(instanceId=instance_id)

    async def PurgeInstances(self, request: pb.PurgeInstancesRequest) -> pb.PurgeInstancesResponse:
        batch = Batch()
        count = self._clients.purge(batch, request)
        await self._written(batch)
        return pb.PurgeInstancesResponse(deletedInstanceCount=count, isComplete=BoolValue(value=True))

    async def QueryInstances(self, request: pb.QueryInstancesRequest) -> pb.QueryInstancesResponse:
        states, token = self.queries.instances(request.query)
        return pb.QueryInstancesResponse(orchestrationState=states, continuationToken=_text(token))

    async def ListInstanceIds(self, request: pb.ListInstanceIdsRequest) -> pb.ListInstanceIdsResponse:
        ids, key = self.queries.ended_ids(request)
        return pb.ListInstanceIdsResponse(instanceIds=ids, lastInstanceKey=_text(key))

    async def StreamInstanceHistory(self, request: pb.StreamInstanceHistoryRequest) -> AsyncIterator[pb.HistoryChunk]:
        instance = self.queries.instance(request.instanceId)
        if instance is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Orchestration instance '{request.instanceId}' not found")
        events = self.queries.history(instance).events
        for start in range(0, len(events), HISTORY_CHUNK_EVENTS):
            yield pb.HistoryChunk(events=events[start : start + HISTORY_CHUNK_EVENTS])

    async def SignalEntity(self, request: pb.SignalEntityRequest) -> pb.SignalEntityResponse:
        batch = Batch()
        self._entities.signal(batch, request, request.requestId)
        await self._written(batch)
        return pb.SignalEntityResponse()

    async def GetEntity(self, request: pb.GetEntityRequest) -> pb.GetEntityResponse:
        entity = self.queries.entity(request.instanceId)
        if entity is None:
            return pb.GetEntityResponse(exists=False)
        return pb.GetEntityResponse(exists=True, entity=self._metadata(entity, with_state=request.includeState))

    async def QueryEntities(self, request: pb.QueryEntitiesRequest) -> pb.QueryEntitiesResponse:
        found, token = self.queries.entities(request.query)
        listed = [
            self._metadata(entity, with_state=request.query.includeState)
            for entity in found
            if request.query.includeTransient or entity.state is not None
        ]
        return pb.QueryEntitiesResponse(entities=listed, continuationToken=_text(token))

    async def CleanEntityStorage(self, request: pb.CleanEntityStorageRequest) -> pb.CleanEntityStorageResponse:
        batch = Batch()
        removed = self._clients.clean_entities(batch) if request.removeEmptyEntities else 0
        released = self._clients.release_orphaned_locks(batch) if request.releaseOrphanedLocks else 0
        await self._written(batch)
        return pb.CleanEntityStorageResponse(emptyEntitiesRemoved=removed, orphanedLocksReleased=released)

    # Workers.

    async def CompleteOrchestratorTask(self, request: pb.OrchestratorResponse) -> pb.CompleteTaskResponse:
        if (job := self.work.complete(request.completionToken)) is not None:
            instance: Instance = job.subject
            if instance.received is not None and not instance.ended:
                batch = self._episodes.complete(instance, request)
                self._orchestrations.after(instance)
                await self._written(batch)
        return pb.CompleteTaskResponse()

    async def CompleteActivityTask(self, request: pb.ActivityResponse) -> pb.CompleteTaskResponse:
        if (job := self.work.complete(request.completionToken)) is not None:
            instance = self._orchestrations.get(job.subject[0])
            batch = self._activities.complete(job.subject, request, instance)
            if instance is not None and instance.resting and not instance.open_activities:
                self._orchestrations.rest_is_over(instance)
            await self._written(batch)
        return pb.CompleteTaskResponse()

    async def CompleteEntityTask(self, request: pb.EntityBatchResult) -> pb.CompleteTaskResponse:
        if (job := self.work.complete(request.completionToken)) is not None and job.subject.received is not None:
            await self._written(self._entities.complete(job.subject, request, self._clients.start_from_entity))
        return pb.CompleteTaskResponse()

    def _find(self, instance_id: str) -> Instance | None:
        """An orchestration, ended or not: what memory knows is newer than the file."""
        if instance_id in self._orchestrations.unfinished:
            return self._orchestrations.unfinished[instance_id]
        return None if instance_id in self._orchestrations.forgotten else self.queries.instance(instance_id)

    def _load_history(self, instance: Instance) -> pb.HistoryChunk:
        try:
            return self.queries.history(instance)
        except (sqlite3.Error, *UNREADABLE) as error:
            self._failed(error)
            raise

    def _load_entity(self, entity_id: str) -> Entity:
        return self.queries.entity(entity_id) or Entity(entity_id)

    def _metadata(self, entity: Entity, *, with_state: bool) -> pb.EntityMetadata:
        active = self._entities.active.get(entity.id, entity)
        return pb.EntityMetadata(
            instanceId=entity.id,
            lastModifiedTime=timestamp(entity.modified),
            backlogQueueSize=len(active.inbox),
            lockedBy=_text(active.locked_by.instance if active.locked_by is not None else None),
            serializedState=_text(entity.state if with_state else None),
        )

    async def _written(self, batch: Batch) -> None:
        if self._broken is not None:
            raise Refused(grpc.StatusCode.UNAVAILABLE, str(self._broken))
        done = asyncio.get_running_loop().create_future()

        def certain() -> None:
            # The caller may have gone meanwhile.
            if not done.done():
                done.set_result(None)

        batch.then.append(certain)
        self._journal.write(batch)
        await done

    async def _wait(
        self, request: pb.GetInstanceRequest, reached: Callable[[pb.OrchestrationState], bool]
    ) -> pb.GetInstanceResponse:
        while True:
            state = self.queries.state(request.instanceId, payloads=request.getInputsAndOutputs)
            if state is None or reached(state):
                return pb.GetInstanceResponse(exists=state is not None, orchestrationState=state)
            change = asyncio.get_running_loop().create_future()
            self._waiters[request.instanceId].append(change)
            try:
                await change
            finally:
                self._stop_waiting(request.instanceId, change)

    def _stop_waiting(self, instance_id: str, change: asyncio.Future[None]) -> None:
        waiters = self._waiters[instance_id]
        if change in waiters:
            waiters.remove(change)
        if not waiters:
            del self._waiters[instance_id]

    def _changed(self, instance_id: str) -> None:
        for change in self._waiters.get(instance_id, ()):
            if not change.done():
                change.set_result(None)

    def _failed(self, error: Exception) -> None:
        self._broken = state_error(self._file.path, error)
        self.work.close()
        self._alarm.stop()
        self._on_failure(self._broken)


def _text(value: str | None) -> StringValue | None:
    return StringValue(value=value) if value is not None else None
