"""A task hub in the hands of a test: its clock, its disk and its worker do what the test says, when it says so.

Nothing here waits for real time: the loop's clock is a number, and a commit happens when `Disk` is told to.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import durabletask.internal.orchestrator_service_pb2 as pb

from devhost.taskhub import journal, state
from devhost.taskhub.service import TaskHub
from devhost.taskhub.state import MICROSECONDS
from devhost.taskhub.work import Kind

START = 1_900_000_000 * MICROSECONDS
LEASE_SECONDS = 100_000.0
TURNS = 12
"""Turns of the loop after which everything that follows from a call has happened; each takes two or three."""


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still until it is moved."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def time(self) -> float:
        return self.seconds


class Disk(Executor):
    """Takes commits; while it is held, they wait."""

    def __init__(self) -> None:
        self.held = False
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit[T](self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        self._waiting.append((done, lambda: fn(*args, **kwargs)))
        if not self.held:
            self.commit()
        return done

    def commit(self) -> bool:
        """Makes what waits durable; whether anything did."""
        waiting, self._waiting = self._waiting, []
        for done, write in waiting:
            try:
                done.set_result(write())
            except Exception as error:
                done.set_exception(error)
        return bool(waiting)


class ControlledHub:
    """A hub, and a worker that collects its work items.

    Args:
        limits: How many items of each kind the worker takes.

    Attributes:
        items: Work items in the worker's hands, by their tokens.
        on_item: Looks at every item as it is handed out.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limits: Mapping[Kind, int] | None = None,
        on_item: Callable[[pb.WorkItem], None] = lambda item: None,
        lease_seconds: float = LEASE_SECONDS,
        reuse_unfinished_ids: bool = False,
    ) -> None:
        self._folder = folder
        self._runs = 0
        self.path = folder / "run0" / "hub.db"
        self.limits = dict.fromkeys(Kind, 100) | dict(limits or {})
        self.on_item = on_item
        self._lease_seconds = lease_seconds
        self._reuse = reuse_unfinished_ids
        self._offset, self._seconds = START, 0.0
        self.disk = Disk()
        self.items: dict[str, pb.WorkItem] = {}
        self._errors: list[BaseException | str] = []
        self.failure: Exception | None = None
        with contextlib.ExitStack() as patched:
            patched.enter_context(patch.object(state, "time", SimpleNamespace(time_ns=lambda: self.now() * 1000)))
            patched.enter_context(patch.object(journal, "ThreadPoolExecutor", lambda *args, **kwargs: self.disk))
            self._open()
            self._patched = patched.pop_all()

    # Time.

    def now(self) -> int:
        """The machine's clock, in microseconds."""
        return self._offset + int(self.loop.seconds * MICROSECONDS)

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.loop.seconds += seconds
        self.idle()

    def jump(self, seconds: float) -> None:
        """The machine's clock is set, forward or back; no time passes."""
        self._offset += int(seconds * MICROSECONDS)

    # The hub.

    def call(self, asked: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Asks the hub for something, and lets happen what can happen without the disk if that is held."""
        task = self.loop.create_task(asked)
        self.idle()
        return task

    def ask[T](self, asked: Coroutine[Any, Any, T]) -> T:
        """The hub's answer, which must not need anything else to happen."""
        task = self.call(asked)
        assert task.done(), "no answer"
        return task.result()

    def idle(self) -> None:
        """Lets everything happen that is due."""

        self._turn()
        # A hub that has told of its failure is through with what it was about to do.
        if self._errors and self.failure is None:
            error = self._errors.pop(0)
            raise error if isinstance(error, BaseException) else AssertionError(error)

    def _turn(self) -> None:
        async def turn() -> None:
            for _ in range(TURNS):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turn())

    def commit(self) -> None:
        """Lets the disk take everything."""
        while self.commit_once():
            pass

    def commit_once(self) -> bool:
        """Lets the disk take one transaction; whether there was any."""
        committed = self.disk.commit()
        self.idle()
        return committed

    def crash(self) -> None:
        """Ends the hub as `kill -9` does, and opens what is on the disk in that instant with another."""
        self._runs += 1
        copy = self._folder / f"run{self._runs}" / "hub.db"
        copy.parent.mkdir()
        for suffix in ("", "-wal"):
            if (source := self.path.with_name(self.path.name + suffix)).exists():
                shutil.copy(source, copy.with_name(copy.name + suffix))
        self._discard()
        self.path = copy
        self.disk = Disk()
        self._open()

    def restart(self) -> None:
        """Ends the hub as Ctrl-C does, and opens its file again."""
        self.disk.held = False
        self.commit()
        self.loop.run_until_complete(self.hub.close())
        self._discard()
        self._open()

    def close(self) -> None:
        self._discard()
        self._patched.close()

    # The worker.

    def accept(self, item: pb.WorkItem) -> None:
        self.on_item(item)
        self.items[item.completionToken] = item

    def attach(self) -> None:
        self.hub.work.attach(self, self.limits)
        self.idle()

    def detach(self) -> None:
        """The worker goes away with all it has in its hands."""
        self.items.clear()
        self.hub.work.detach(self)
        self.idle()

    def of_kind(self, kind: str) -> list[pb.WorkItem]:
        """Items in the worker's hands: ``orchestratorRequest``, ``activityRequest`` or ``entityRequestV2``."""
        return [item for item in self.items.values() if item.HasField(kind)]

    def episode(self, instance_id: str) -> pb.WorkItem:
        """The episode of an orchestration that the worker has."""
        (item,) = [i for i in self.of_kind("orchestratorRequest") if i.orchestratorRequest.instanceId == instance_id]
        return item

    def answer(
        self, item: pb.WorkItem, *actions: pb.OrchestratorAction, custom_status: str | None = None
    ) -> asyncio.Task[Any]:
        """Completes an episode."""
        self.items.pop(item.completionToken, None)
        response = pb.OrchestratorResponse(
            instanceId=item.orchestratorRequest.instanceId, actions=actions, completionToken=item.completionToken
        )
        if custom_status is not None:
            response.customStatus.value = custom_status
        return self.call(self.hub.CompleteOrchestratorTask(response))

    def finish(self, item: pb.WorkItem, result: str = '"ok"', failure: str | None = None) -> asyncio.Task[Any]:
        """Completes an activity."""
        self.items.pop(item.completionToken, None)
        response = pb.ActivityResponse(
            instanceId=item.activityRequest.orchestrationInstance.instanceId,
            taskId=item.activityRequest.taskId,
            completionToken=item.completionToken,
        )
        if failure is not None:
            response.failureDetails.errorType, response.failureDetails.errorMessage = "Failure", failure
        else:
            response.result.value = result
        return self.call(self.hub.CompleteActivityTask(response))

    # Questions.

    def state(self, instance_id: str) -> pb.OrchestrationState | None:
        return self.hub.queries.state(instance_id, payloads=True)

    def history(self, instance_id: str) -> list[pb.HistoryEvent]:
        """What the hub streams of the present execution."""

        async def all_events() -> list[pb.HistoryEvent]:
            request = pb.StreamInstanceHistoryRequest(instanceId=instance_id)
            return [event async for chunk in self.hub.StreamInstanceHistory(request) for event in chunk.events]

        return self.ask(all_events())

    def _open(self) -> None:
        self.loop = Loop(self._seconds)
        self.items = {}
        self.loop.set_exception_handler(self._note)

        async def opened() -> TaskHub:
            return TaskHub(
                self.path,
                durable=False,
                reuse_unfinished_ids=self._reuse,
                lease_seconds=self._lease_seconds,
                on_failure=self._fail,
            )

        try:
            self.hub = self.loop.run_until_complete(opened())
        except BaseException:
            self.loop.close()
            raise
        self.attach()

    def _discard(self) -> None:
        self._seconds = self.loop.seconds

        async def end() -> None:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        self.loop.run_until_complete(end())
        self._turn()
        self.hub._file.close()
        self.loop.close()

    def _fail(self, error: Exception) -> None:
        self.failure = error

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._errors.append(context.get("exception") or context["message"])


# Decisions of an orchestrator.


def activity(task: int, name: str = "Act") -> pb.OrchestratorAction:
    return pb.OrchestratorAction(id=task, scheduleTask=pb.ScheduleTaskAction(name=name))


def timer(task: int, due: int) -> pb.OrchestratorAction:
    return pb.OrchestratorAction(id=task, createTimer=pb.CreateTimerAction(fireAt=state.timestamp(due)))


def child(task: int, instance_id: str, name: str = "Child") -> pb.OrchestratorAction:
    action = pb.CreateSubOrchestrationAction(instanceId=instance_id, name=name)
    return pb.OrchestratorAction(id=task, createSubOrchestration=action)


def event_to(task: int, instance_id: str, name: str, data: str) -> pb.OrchestratorAction:
    action = pb.OrchestratorAction(id=task, sendEvent=pb.SendEventAction(name=name))
    action.sendEvent.instance.instanceId = instance_id
    action.sendEvent.data.value = data
    return action


def end(
    status: pb.OrchestrationStatus = pb.ORCHESTRATION_STATUS_COMPLETED,
    result: str | None = None,
    carried: list[pb.HistoryEvent] | None = None,
) -> pb.OrchestratorAction:
    action = pb.CompleteOrchestrationAction(orchestrationStatus=status, carryoverEvents=carried or [])
    if result is not None:
        action.result.value = result
    if status == pb.ORCHESTRATION_STATUS_FAILED:
        action.failureDetails.errorType = "Failure"
    return pb.OrchestratorAction(id=-1, completeOrchestration=action)


def rewritten(item: pb.WorkItem) -> pb.OrchestratorAction:
    """How the SDK answers when it is told to rewind: a history without what failed."""
    request = item.orchestratorRequest
    events = [*request.pastEvents, *request.newEvents]
    failed = {e.taskFailed.taskScheduledId for e in events if e.HasField("taskFailed")}
    dropped = ("taskFailed", "subOrchestrationInstanceFailed", "executionCompleted")
    kept = [
        e
        for e in events
        if e.WhichOneof("eventType") not in dropped and not (e.HasField("taskScheduled") and e.eventId in failed)
    ]
    return pb.OrchestratorAction(id=-1, rewindOrchestration=pb.RewindOrchestrationAction(newHistory=kept))
