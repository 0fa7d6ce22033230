"""Activities: written with the episode that asked for them, run once that is durable, answered once."""

from functools import partial

import durabletask.internal.orchestrator_service_pb2 as pb

from devhost.taskhub.post import Post
from devhost.taskhub.state import Batch, Instance, now, timestamp
from devhost.taskhub.work import Job, Kind, WorkItems

type Key = tuple[str, int, int]
"""Orchestration, execution, and id of the action that scheduled the activity."""


class Activities:
    """All activities that have no result."""

    def __init__(self, post: Post, work: WorkItems) -> None:
        self._post = post
        self._work = work

    def schedule(self, batch: Batch, instance: Instance, action: pb.OrchestratorAction) -> pb.HistoryEvent:
        """Adds an activity to a batch; it runs when that is written."""
        task = action.scheduleTask
        input, version = (
            (task.input if task.HasField("input") else None),
            (task.version if task.HasField("version") else None),
        )
        trace = task.parentTraceContext if task.HasField("parentTraceContext") else instance.trace
        request = pb.ActivityRequest(
            name=task.name,
            version=version,
            input=input,
            orchestrationInstance=pb.OrchestrationInstance(instanceId=instance.id),
            taskId=action.id,
            parentTraceContext=trace,
            tags=task.tags,
        )
        key = (instance.id, instance.execution, action.id)
        batch.add(
            "INSERT INTO activities (instance, execution, task, request) VALUES (?, ?, ?, ?)",
            *key,
            request.SerializeToString(),
        )
        batch.then.append(partial(self.offer, key, request))
        instance.open_activities.add(action.id)
        scheduled = pb.TaskScheduledEvent(name=task.name, version=version, input=input, tags=task.tags)
        if task.HasField("parentTraceContext"):
            scheduled.parentTraceContext.CopyFrom(task.parentTraceContext)
        return pb.HistoryEvent(timestamp=timestamp(now()), taskScheduled=scheduled)

    def offer(self, key: Key, request: pb.ActivityRequest) -> None:
        """Lets a worker run a written activity."""
        self._work.offer(
            Job(
                Kind.ACTIVITY,
                request.name,
                key,
                lambda: pb.WorkItem(activityRequest=request),
                lambda: self.offer(key, request),
            )
        )

    def complete(self, key: Key, response: pb.ActivityResponse, instance: Instance | None) -> Batch:
        """Ends an activity.

        Args:
            instance: The orchestration that scheduled it, unless it has ended.

        Returns:
            Its answer, to be written.
        """
        batch = Batch()
        batch.add("DELETE FROM activities WHERE instance = ? AND execution = ? AND task = ?", *key)
        id, execution, task = key
        if instance is not None and instance.execution == execution:
            instance.open_activities.discard(task)
        if response.HasField("failureDetails"):
            failed = pb.TaskFailedEvent(taskScheduledId=task, failureDetails=response.failureDetails)
            event = pb.HistoryEvent(taskFailed=failed)
        else:
            result = response.result if response.HasField("result") else None
            event = pb.HistoryEvent(taskCompleted=pb.TaskCompletedEvent(taskScheduledId=task, result=result))
        self._post.send(batch, id, event, execution=execution)
        return batch
