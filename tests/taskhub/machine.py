"""A hub and its model side by side: what the worker sees of the hub is held against the model, as it sees it."""

import shutil
import tempfile
from collections.abc import Callable, Coroutine
from copy import deepcopy
from pathlib import Path
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
import grpc
import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from devhost.taskhub.client import Refused
from devhost.taskhub.state import MICROSECONDS, microseconds
from devhost.taskhub.work import Kind
from tests.taskhub import controlled
from tests.taskhub.controlled import ControlledHub
from tests.taskhub.model import (
    COMPLETED,
    CONTINUED,
    FAILED,
    TERMINATED,
    Instance,
    Model,
    Told,
    told,
)

IDS = ("a", "b", "c")
ids = st.sampled_from(IDS)
LIMIT = 3


class HubAndModel(RuleBasedStateMachine):
    """A hub and its model, which are told the same; what they are told is for who inherits."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hub-model-"))
        self.model = Model()
        self.written: list[tuple[Any, Model]] = []
        """What was asked while the disk was held, and what is to be on the disk when that is answered."""
        self.committed: Model | None = None
        self.labels = 0
        self.stale: list[str] = []
        limits = {Kind.ORCHESTRATION: LIMIT, Kind.ACTIVITY: LIMIT}
        self.hub = ControlledHub(self.folder, limits=limits, on_item=self.handed_out)

    def teardown(self) -> None:
        self.hub.close()
        shutil.rmtree(self.folder)

    # The worker's side, as the hub hands something out.

    def handed_out(self, item: pb.WorkItem) -> None:
        if item.HasField("orchestratorRequest"):
            assert len(self.hub.of_kind("orchestratorRequest")) < LIMIT, "more episodes than the worker takes"
            self.episode_handed_out(item.orchestratorRequest)
        else:
            assert len(self.hub.of_kind("activityRequest")) < LIMIT, "more activities than the worker takes"
            self.activity_handed_out(item.activityRequest)

    def episode_handed_out(self, request: pb.OrchestratorRequest) -> None:
        instance = self.model.instances[request.instanceId]
        assert instance.ready(self.hub.now()), "nothing to do"
        assert [told(e) for e in request.pastEvents] == instance.history, "another history"
        assert [told(e) for e in request.newEvents] == self.model.hand_out(request.instanceId), "other messages"
        times = [
            microseconds(e.timestamp)
            for e in [*request.pastEvents, *request.newEvents]
            if e.HasField("orchestratorStarted")
        ]
        assert times == sorted(times), "time goes back"
        assert times[-1] >= instance.clock, "time goes back over a new execution"

    def activity_handed_out(self, request: pb.ActivityRequest) -> None:
        label = request.input.value
        assert label in self.model.activities, "an activity with an answer runs again"
        held = [item.activityRequest.input.value for item in self.hub.of_kind("activityRequest")]
        assert label not in held, "an activity is handed out twice at a time"
        durable = {waiting.input.value for _, waiting in self.hub.hub.queries.activities()}
        assert label in durable, "an activity runs before its episode is on the disk"

    # Asking the hub and the model alike.

    def act(self, change: Callable[[], Any], asked: Coroutine[Any, Any, Any]) -> None:
        """Something that the hub is to do."""
        change()
        task = self.hub.call(asked)
        self.note(task)

    def note(self, task: Any) -> None:
        if self.hub.disk.held:
            self.written.append((task, deepcopy(self.model)))
        else:
            task.result()

    def refused(self, asked: Coroutine[Any, Any, Any], code: grpc.StatusCode) -> None:
        task = self.hub.call(asked)
        error = task.exception()
        assert isinstance(error, Refused), error
        assert error.code == code

    @property
    def durable(self) -> Model:
        """What the disk has."""
        return self.model if self.committed is None else self.committed

    def label(self) -> str:
        self.labels += 1
        return f'"{self.labels}"'

    # What orchestrators decide.

    def is_current(self, item: pb.WorkItem, instance: Instance) -> bool:
        """Whether an item is the open episode of an instance, and not of one that it replaced."""
        new = [told(e) for e in item.orchestratorRequest.newEvents[1:]]
        return [told(e) for e in item.orchestratorRequest.pastEvents] == instance.history and new == [
            m.event for m in instance.inbox[: instance.running]
        ]

    def decide(
        self, data: st.DataObject, item: pb.WorkItem, instance: Instance
    ) -> tuple[list[Told], list[pb.OrchestratorAction]]:
        new = [told(e) for e in item.orchestratorRequest.newEvents]
        kinds = [event[0] for event in new]
        if "executionRewound" in kinds:
            return [("rewritten",)], [controlled.rewritten(item)]
        if "executionTerminated" in kinds:
            output = next(event[1] for event in new if event[0] == "executionTerminated")
            return [("end", TERMINATED, output)], [controlled.end(TERMINATED, output)]
        decided: list[Told] = []
        actions: list[pb.OrchestratorAction] = []
        kinds_of_decisions = ["activity", "activity", "activity", "timer", "child", "event", "stop"]
        choices = st.lists(st.sampled_from(kinds_of_decisions), min_size=1, max_size=3)
        for kind in data.draw(choices):
            instance.tasks += 1
            decision = self.decision(data, kind, instance)
            decided.append(decision)
            actions.append(action_of(decision))
        ending = data.draw(st.sampled_from(["", "", "", "", "completed", "failed", "again"]))
        if ending == "again":
            carried = [e for e in item.orchestratorRequest.newEvents if e.HasField("eventRaised")]
            carried = carried[: data.draw(st.integers(0, len(carried)))]
            input = self.label()
            decided.append(("again", input, [told(e) for e in carried]))
            actions.append(controlled.end(CONTINUED, input, carried))
        elif ending:
            status = COMPLETED if ending == "completed" else FAILED
            decided.append(("end", status, self.label()))
            actions.append(controlled.end(status, decided[-1][2]))
        return decided, actions

    def decision(self, data: st.DataObject, kind: str, instance: Instance) -> Told:
        task = instance.tasks
        match kind:
            case "activity":
                return ("activity", task, self.label())
            case "timer":
                return ("timer", task, self.hub.now() + data.draw(st.sampled_from([-1, 10, 10, 200])) * MICROSECONDS)
            case "child":
                return ("child", task, data.draw(st.sampled_from([*IDS, f"{instance.id}/{self.label()}"])))
            case "event":
                return ("event", task, data.draw(ids), "go", self.label())
            case _:
                return ("stop", data.draw(ids), self.label())


def one_of[T](data: st.DataObject, choices: list[T]) -> T:
    # By its place: a token is another one in every run.
    return choices[data.draw(st.integers(0, len(choices) - 1))]


def action_of(decision: Told) -> pb.OrchestratorAction:
    match decision:
        case ("activity", task, label):
            action = controlled.activity(task)
            action.scheduleTask.input.value = label
            return action
        case ("timer", task, due):
            return controlled.timer(task, due)
        case ("child", task, child_id):
            return controlled.child(task, child_id)
        case ("event", task, target, name, data):
            return controlled.event_to(task, target, name, data)
        case (_, target, output):
            action = pb.OrchestratorAction(id=0)
            action.terminateOrchestration.instanceId = target
            action.terminateOrchestration.reason.value = output
            return action
    raise AssertionError(decision)
