"""What clients ask the hub to do: start, send events, suspend, terminate, rewind, restart, purge."""

import logging
import uuid
from collections.abc import Callable, Collection

import durabletask.internal.orchestrator_service_pb2 as pb
import grpc

from devhost.taskhub.entities import Entities
from devhost.taskhub.episode import Episodes
from devhost.taskhub.orchestrations import Orchestrations
from devhost.taskhub.post import ENTITY, Post
from devhost.taskhub.queries import Queries
from devhost.taskhub.state import FINISHED, Batch, Instance, microseconds, now

logger = logging.getLogger("host.hub")

UNFINISHED = frozenset(
    {pb.ORCHESTRATION_STATUS_PENDING, pb.ORCHESTRATION_STATUS_RUNNING, pb.ORCHESTRATION_STATUS_SUSPENDED}
)


class Refused(Exception):
    """The hub does not do what a client asks.

    Attributes:
        code: The status of gRPC that says why.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Clients:
    """Carries out what clients ask. Each method returns when everything that follows is in a batch.

    Args:
        find: An orchestration by its id, whether it has ended or not.
        reuse_unfinished_ids: Starting an id that is still running replaces it.
    """

    def __init__(
        self,
        orchestrations: Orchestrations,
        episodes: Episodes,
        entities: Entities,
        post: Post,
        queries: Queries,
        find: Callable[[str], Instance | None],
        *,
        reuse_unfinished_ids: bool,
    ) -> None:
        self._orchestrations = orchestrations
        self._episodes = episodes
        self._entities = entities
        self._post = post
        self._queries = queries
        self._find = find
        self._replaceable = FINISHED | UNFINISHED if reuse_unfinished_ids else FINISHED

    def start(self, batch: Batch, request: pb.CreateInstanceRequest) -> str:
        """Starts an orchestration; its id.

        Raises:
            Refused: The id is in use, or cannot be one.
        """
        instance_id = request.instanceId or uuid.uuid4().hex
        if instance_id.startswith(ENTITY):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"The id of an orchestration cannot begin with '{ENTITY}'")
        replaceable = frozenset(request.orchestrationIdReusePolicy.replaceableStatus) or self._replaceable
        if (earlier := self._find(instance_id)) is not None and earlier.status not in replaceable:
            raise Refused(
                grpc.StatusCode.ALREADY_EXISTS,
                f"Orchestration instance '{instance_id}' already exists and may not be replaced in its status",
            )
        start_at = (
            microseconds(request.scheduledStartTimestamp) if request.HasField("scheduledStartTimestamp") else None
        )
        instance = Instance(
            instance_id,
            request.name,
            created=now(),
            execution=self._post.number(),
            version=request.version.value if request.HasField("version") else None,
            trace=request.parentTraceContext if request.HasField("parentTraceContext") else None,
            tags=dict(request.tags),
            start_at=start_at,
        )
        self._orchestrations.begin(batch, instance, request.input if request.HasField("input") else None)
        return instance_id

    def start_from_entity(self, batch: Batch, action: pb.StartNewOrchestrationAction) -> None:
        """Starts an orchestration that an entity asked for; a running one of that id is left alone."""
        if action.instanceId.startswith(ENTITY):
            logger.error(
                "An entity cannot start '%s': the id of an orchestration cannot begin with '@'", action.instanceId
            )
        elif self._orchestrations.get(action.instanceId) is None:
            request = pb.CreateInstanceRequest(instanceId=action.instanceId, name=action.name)
            for field in ("version", "input", "parentTraceContext"):
                if action.HasField(field):
                    getattr(request, field).CopyFrom(getattr(action, field))
            if action.HasField("scheduledTime"):
                request.scheduledStartTimestamp.CopyFrom(action.scheduledTime)
            self.start(batch, request)

    def send(self, batch: Batch, instance_id: str, event: pb.HistoryEvent) -> None:
        """Sends an event; one that has ended receives nothing any more.

        Raises:
            Refused: There is no such orchestration.
        """
        self._existing(instance_id)
        self._post.send(batch, instance_id, event)

    def suspend(self, batch: Batch, request: pb.SuspendRequest) -> None:
        """Lets an orchestration receive nothing until it is resumed."""
        reason = request.reason if request.HasField("reason") else None
        event = pb.HistoryEvent(executionSuspended=pb.ExecutionSuspendedEvent(input=reason))
        self.send(batch, request.instanceId, event)

    def terminate(self, batch: Batch, request: pb.TerminateRequest) -> None:
        """Ends an orchestration, with its sub-orchestrations if that is asked for."""
        self._existing(request.instanceId)
        output = request.output if request.HasField("output") else None
        terminated = pb.ExecutionTerminatedEvent(input=output, recurse=request.recursive)
        self._episodes.terminate(batch, request.instanceId, terminated)

    def rewind(self, batch: Batch, request: pb.RewindInstanceRequest) -> None:
        """Has a failed orchestration run again from where it failed."""
        instance = self._existing(request.instanceId)
        if instance.status != pb.ORCHESTRATION_STATUS_FAILED:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Orchestration instance '{instance.id}' has not failed; only what has failed can be rewound",
            )
        self._episodes.rewind(batch, instance, request.reason if request.HasField("reason") else None)

    def restart(self, batch: Batch, request: pb.RestartInstanceRequest) -> str:
        """Starts an ended orchestration once more, with the same input; the id."""
        earlier = self._existing(request.instanceId)
        # Its input is in the file once its end is.
        if earlier.status not in FINISHED or earlier.unwritten:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Orchestration instance '{earlier.id}' has not ended; only what has ended can be restarted",
            )
        again = pb.CreateInstanceRequest(
            instanceId="" if request.restartWithNewInstanceId else earlier.id, name=earlier.name, tags=earlier.tags
        )
        if (input := self._queries.input_of(earlier.id)) is not None:
            again.input.value = input
        if earlier.version is not None:
            again.version.value = earlier.version
        return self.start(batch, again)

    def purge(self, batch: Batch, request: pb.PurgeInstancesRequest) -> int:
        """Removes what has ended, and entities; how many."""
        if request.HasField("purgeInstanceFilter"):
            named: Collection[str] = self._queries.purgeable(request.purgeInstanceFilter)
        else:
            named = [*request.instanceBatch.instanceIds, *([request.instanceId] if request.instanceId else ())]
        ids: dict[str, None] = {}
        for instance_id in named:
            self._add_purged(ids, instance_id, recursive=request.recursive)
        for instance_id in ids:
            if instance_id.startswith(ENTITY):
                batch.add("DELETE FROM entities WHERE id = ?", instance_id)
            else:
                self._orchestrations.forget(batch, instance_id)
                batch.add("DELETE FROM instances WHERE id = ?", instance_id)
        return len(ids)

    def clean_entities(self, batch: Batch) -> int:
        """Removes entities that have neither state nor work; how many."""
        empty = [i for i in self._queries.empty_entities() if i not in self._entities.active]
        for entity_id in empty:
            batch.add("DELETE FROM entities WHERE id = ?", entity_id)
        return len(empty)

    def release_orphaned_locks(self, batch: Batch) -> int:
        """Ends the critical sections of orchestrations that have ended; how many."""
        orphans = {
            lock.instance for lock in self._entities.locks.values() if self._orchestrations.get(lock.instance) is None
        }
        before = len(self._entities.locks)
        for instance_id in orphans:
            self._entities.release(batch, instance_id)
        return before - len(self._entities.locks)

    def _add_purged(self, ids: dict[str, None], instance_id: str, *, recursive: bool) -> None:
        if instance_id.startswith(ENTITY):
            purgeable = self._queries.entity(instance_id) is not None and instance_id not in self._entities.active
        else:
            found = self._find(instance_id)
            purgeable = found is not None and found.status in FINISHED
        if purgeable and instance_id not in ids:
            ids[instance_id] = None
            for child in self._queries.children(instance_id) if recursive else ():
                self._add_purged(ids, child, recursive=True)

    def _existing(self, instance_id: str) -> Instance:
        if (instance := self._find(instance_id)) is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Orchestration instance '{instance_id}' not found")
        return instance
