"""Running an orchestrator on a real task hub with activities swapped by name, and recording every turn of it.

    histories/unreleased/   what the orchestrators decide now, recorded anew whenever they are changed on purpose
    histories/1.2.3/        what they decided in that release, never changed again: its tasks may be in flight

`python -m tests.durable.recording` records every scenario of every orchestrator anew into `unreleased`, and nowhere
else. `python -m tests.durable.recording release 1.2.3` keeps a copy of that as the release's own.

A recording has one history for each generation, for what continues as new starts an empty one; and for each turn,
where in that history it began and what the orchestrator decided: every field of every action.
"""

import base64
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs
import grpc
from azure.durable_functions.worker import DurableFunctionsWorker
from durabletask.internal import helpers
from google.protobuf import json_format
from google.protobuf.wrappers_pb2 import StringValue

from tests.durable.hub import hasty_hub

HISTORIES = Path(__file__).parent / "histories"
UNRELEASED = "unreleased"
INSTANCE = "task"
HOUR = timedelta(hours=1)
FINISH_SECONDS = 20
ENDED = (pb.ORCHESTRATION_STATUS_COMPLETED, pb.ORCHESTRATION_STATUS_FAILED, pb.ORCHESTRATION_STATUS_TERMINATED)

type Json = dict[str, Any]
type Orchestrator = Callable[..., Any]
type Activities = Callable[[str, Json], Json]
"""Runs the activity of a name with an input. A Fault is a failure of that activity, any other error one of the test."""


class Fault(Exception):
    """What fails an activity on purpose."""


class Silence(Exception):
    """An activity of which nothing is heard any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What comes from outside while an orchestration runs.

    Attributes:
        timers: Timers of up to this length fire at once, longer ones never.
        timers_after: Until this turn is over, no timer fires.
        raised_in: An event that is raised while an activity of this name runs: it arrives before the outcome.
        raised_with: An event that arrives within this turn (they count from 1), behind all that came with it. Only for
            the last turn of a generation: the hub knows nothing of it.
        raised_after: An event that is raised when this turn is over.
    """

    timers: timedelta = HOUR
    timers_after: int = 0
    raised_in: dict[str, str] = field(default_factory=dict[str, str])
    raised_with: dict[int, str] = field(default_factory=dict[int, str])
    raised_after: dict[int, str] = field(default_factory=dict[int, str])


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of the orchestrator: what it knew, what was new to it, and what it decided."""

    past: list[pb.HistoryEvent]
    new: list[pb.HistoryEvent]
    actions: list[Json]


type Generation = list[Turn]


@dataclass(slots=True)
class Played:
    """What an orchestration came to: its turns by generation, the input of each activity that ran, and its end."""

    generations: list[Generation] = field(default_factory=list[Generation])
    activities: list[tuple[str, Json]] = field(default_factory=list[tuple[str, Json]])
    status: str = ""
    output: Any = None

    def turns(self) -> int:
        return sum(map(len, self.generations))


def play(orchestrator: Orchestrator, name: str, input: Json, activities: Activities, outside: Outside) -> Played:
    """Run an orchestration from start to end on a task hub, one work item at a time."""
    played = Played()
    held = outside.timers_after > 0
    with (
        tempfile.TemporaryDirectory() as folder,
        hasty_hub(Path(folder), outside.timers, held=held) as (address, release),
        grpc.insecure_channel(address) as channel,
    ):
        hub: Any = stubs.TaskHubSidecarServiceStub(channel)
        started = StringValue(value=json.dumps(input))
        hub.StartInstance(pb.CreateInstanceRequest(instanceId=INSTANCE, name=name, input=started))
        work: pb.WorkItem
        for work in hub.GetWorkItems(pb.GetWorkItemsRequest(), timeout=FINISH_SECONDS):
            if work.HasField("orchestratorRequest") and work.orchestratorRequest.instanceId != INSTANCE:
                if ended := _stand_in(played, activities, work.orchestratorRequest):
                    ended.completionToken = work.completionToken
                    hub.CompleteOrchestratorTask(ended)
            elif work.HasField("activityRequest"):
                activity, reference = work.activityRequest.name, json.loads(work.activityRequest.input.value)
                played.activities.append((activity, reference))
                _raise(hub, outside.raised_in.get(activity))
                response = pb.ActivityResponse(
                    instanceId=INSTANCE, taskId=work.activityRequest.taskId, completionToken=work.completionToken
                )
                try:
                    response.result.value = json.dumps(activities(activity, reference))
                except Silence:
                    continue
                except Fault as fault:
                    response.failureDetails.CopyFrom(helpers.new_failure_details(fault))
                    # Where on somebody's disk it failed is no part of a record.
                    response.failureDetails.ClearField("stackTrace")
                hub.CompleteActivityTask(response)
            else:
                turn = played.turns() + 1
                if event := outside.raised_with.get(turn):
                    work.orchestratorRequest.newEvents.append(helpers.new_event_raised_event(event))
                decided = take_turn(orchestrator, work.orchestratorRequest)
                _add_turn(played, work.orchestratorRequest, decided)
                decided.completionToken = work.completionToken
                hub.CompleteOrchestratorTask(decided)
                _raise(hub, outside.raised_after.get(turn))
                if turn == outside.timers_after:
                    release()
                if end := _end(decided):
                    played.status = pb.OrchestrationStatus.Name(end.orchestrationStatus)
                    played.output = json.loads(end.result.value or "null")
                    break
    return played


def _stand_in(played: Played, run: Activities, asked: pb.OrchestratorRequest) -> pb.OrchestratorResponse | None:
    """Answer in place of a sub-orchestration, which counts as an activity of the orchestrator's name."""
    started = next((event.executionStarted for event in asked.newEvents if event.HasField("executionStarted")), None)
    if started is None:
        return None
    reference = json.loads(started.input.value)
    played.activities.append((started.name, reference))
    end = pb.CompleteOrchestrationAction(orchestrationStatus=pb.ORCHESTRATION_STATUS_COMPLETED)
    try:
        end.result.value = json.dumps(run(started.name, reference))
    except Silence:
        return None
    except Fault as fault:
        end.orchestrationStatus = pb.ORCHESTRATION_STATUS_FAILED
        end.failureDetails.CopyFrom(helpers.new_failure_details(fault))
        end.failureDetails.ClearField("stackTrace")
    action = pb.OrchestratorAction(id=1, completeOrchestration=end)
    return pb.OrchestratorResponse(instanceId=asked.instanceId, actions=[action])


def take_turn(orchestrator: Orchestrator, request: pb.OrchestratorRequest) -> pb.OrchestratorResponse:
    """Run an orchestrator once, the way the Functions worker does."""
    body = SimpleNamespace(body=base64.b64encode(request.SerializeToString()).decode())
    decided = DurableFunctionsWorker().execute_orchestration_request(orchestrator, body)
    response = pb.OrchestratorResponse()
    response.ParseFromString(base64.b64decode(decided))
    return response


def actions_of(response: pb.OrchestratorResponse) -> list[Json]:
    """Actions as they are recorded and compared: every field of them."""
    return [json_format.MessageToDict(action) for action in response.actions]


def _raise(hub: Any, event: str | None) -> None:
    if event:
        hub.RaiseEvent(pb.RaiseEventRequest(instanceId=INSTANCE, name=event))


def _add_turn(played: Played, request: pb.OrchestratorRequest, decided: pb.OrchestratorResponse) -> None:
    if not request.pastEvents:
        played.generations.append([])
    played.generations[-1].append(Turn(list(request.pastEvents), list(request.newEvents), actions_of(decided)))


def _end(decided: pb.OrchestratorResponse) -> pb.CompleteOrchestrationAction | None:
    for action in decided.actions:
        end = action.completeOrchestration
        if action.HasField("completeOrchestration") and end.orchestrationStatus in ENDED:
            return end
    return None


def save(name: str, generations: list[Generation]) -> None:
    text = json.dumps([_to_json(generation) for generation in generations], indent=1)
    (HISTORIES / UNRELEASED / f"{name}.json").write_text(text + "\n", "utf-8")


def load(name: str, version: str = UNRELEASED) -> list[Generation]:
    return [_from_json(text) for text in json.loads((HISTORIES / version / f"{name}.json").read_text("utf-8"))]


def _to_json(generation: Generation) -> Json:
    last = generation[-1]
    turns = [{"past": len(t.past), "known": len(t.past) + len(t.new), "actions": t.actions} for t in generation]
    return {"history": [json_format.MessageToDict(event) for event in (*last.past, *last.new)], "turns": turns}


def _from_json(generation: Json) -> Generation:
    history = [json_format.ParseDict(event, pb.HistoryEvent()) for event in generation["history"]]
    return [
        Turn(history[: turn["past"]], history[turn["past"] : turn["known"]], turn["actions"])
        for turn in generation["turns"]
    ]


def keep(version: str, histories: Path = HISTORIES) -> None:
    """Keep what is recorded as a release's own. Raises FileExistsError: what a release has stays as it is."""
    shutil.copytree(histories / UNRELEASED, histories / version)


def _record() -> None:
    # Here, because the scenarios are written with what stands above.
    from tests.durable import agent_recording, ingestion_recording

    for path in (HISTORIES / UNRELEASED).glob("*.json"):
        path.unlink()
    for scenarios in (agent_recording, ingestion_recording):
        for name, scenario in scenarios.SCENARIOS.items():
            save(name, scenarios.play(scenario).generations)


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            _record()
        case ["release", version]:
            keep(version)
        case _:
            sys.exit(__doc__)
