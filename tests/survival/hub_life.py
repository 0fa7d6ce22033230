"""The work of the survival tests: what is started, how it must end, and what the hub's file says of it."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
import httpx

from devhost.errors import StateError
from devhost.taskhub.file import open_to_read
from devhost.taskhub.queries import Queries

MANAGEMENT = "/runtime/webhooks/durabletask"

WORK: dict[str, tuple[Any, Any]] = {
    "fans_out": (6, 1 + 55 + 4),
    "has_children": (3, 2 * (1 + 5 + 4)),
    "waits": (7, [49, "now"]),
    "begins_anew": ([], [0, 1, 4, 9]),
    "counts": (5, [5, 15]),
}
"""Input and output of each orchestrator of the app."""

type Decision = tuple[int, str, str, str]
"""Id and kind of an action, its name, and its input."""


@dataclass(slots=True)
class Work:
    """All that was started, by the id of the instance.

    Attributes:
        started: The orchestrator of each that the hub has acknowledged.
        sent: Those whose event was acknowledged.
    """

    url: str
    started: dict[str, str] = field(default_factory=dict[str, str])
    sent: set[str] = field(default_factory=set[str])

    def start(self, client: httpx.Client, instance_id: str, name: str) -> None:
        """Starts an instance. Raises httpx.TransportError if the host dies before it answers."""
        answer = client.post(f"{self.url}{MANAGEMENT}/orchestrators/{name}/{instance_id}", json=WORK[name][0])
        # 409: an earlier answer was lost, but not what it told of.
        assert answer.status_code in (202, 409), answer.text
        self.started[instance_id] = name

    def send_events(self, client: httpx.Client) -> None:
        """Sends each that waits for an event one. Raises httpx.TransportError likewise."""
        for instance_id, name in self.started.items():
            if name == "waits" and instance_id not in self.sent:
                url = f"{self.url}{MANAGEMENT}/instances/{instance_id}/raiseEvent/Go"
                assert client.post(url, json="now").status_code in (202, 410)
                self.sent.add(instance_id)

    def unfinished(self, client: httpx.Client) -> list[str]:
        """Ids of those that have not ended."""
        query = {"runtimeStatus": "Running,Pending,Suspended", "top": 1000, "showInput": "false"}
        return [state["instanceId"] for state in client.get(f"{self.url}{MANAGEMENT}/instances", params=query).json()]

    def outputs(self, client: httpx.Client) -> dict[str, tuple[str, Any]]:
        """Status and output of every instance."""
        found = (client.get(f"{self.url}{MANAGEMENT}/instances/{i}").json() for i in self.started)
        return {state["instanceId"]: (state["runtimeStatus"], state["output"]) for state in found}

    def expected(self) -> dict[str, tuple[str, Any]]:
        return {instance_id: ("Completed", WORK[name][1]) for instance_id, name in self.started.items()}


def runs(log: Path) -> Counter[str]:
    """How often each activity has run, by "instance label"."""
    return Counter(log.read_text("utf-8").splitlines() if log.exists() else ())


def completed(state: Path) -> set[str]:
    """The activities whose completion is in the file; none while there is no file."""
    found: set[str] = set()
    with _file(state) as queries:
        if queries is None:
            return found
        answered: dict[str, set[int]] = {}
        for message in queries.messages():
            if message.event.HasField("taskCompleted"):
                answered.setdefault(message.target, set()).add(message.event.taskCompleted.taskScheduledId)
        for instance_id, events in _histories(queries):
            done = answered.get(instance_id, set())
            done |= {e.taskCompleted.taskScheduledId for e in events if e.HasField("taskCompleted")}
            for event in events:
                if event.HasField("taskScheduled") and event.eventId in done:
                    work = json.loads(event.taskScheduled.input.value)
                    found.add(f"{work['by']} {work['label']}")
    return found


def decisions(state: Path) -> dict[str, list[Decision]]:
    """What the last execution of each instance decided, in the order of its orchestrator."""
    with _file(state) as queries:
        assert queries is not None
        return {
            instance_id: sorted(d for event in events if (d := _decision(event, instance_id)) is not None)
            for instance_id, events in _histories(queries)
        }


def _decision(event: pb.HistoryEvent, instance_id: str) -> Decision | None:
    kind = event.WhichOneof("eventType")
    if event.eventId < 0 or kind is None:
        return None
    detail = getattr(event, kind)
    name = getattr(detail, "name", "") or getattr(detail, "operation", "")
    input = detail.input.value if "input" in detail.DESCRIPTOR.fields_by_name else ""
    return event.eventId, kind, name, input.replace(instance_id, "<id>")


def _histories(queries: Queries) -> Iterator[tuple[str, list[pb.HistoryEvent]]]:
    states, _ = queries.instances(pb.InstanceQuery(maxInstanceCount=1_000_000))
    for state in states:
        instance = queries.instance(state.instanceId)
        assert instance is not None
        yield state.instanceId, list(queries.history(instance).events)


@contextlib.contextmanager
def _file(state: Path) -> Iterator[Queries | None]:
    """The file of a hub that nobody runs, to be read; None if it was never made."""
    try:
        connection = open_to_read(state / "Survival.db")
    except StateError:
        # Killed before its tables were there: they come with one commit.
        yield None
        return
    with contextlib.closing(connection):
        yield Queries(connection)
