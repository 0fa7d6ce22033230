"""Reading the hub's file: what is committed, and nothing else."""

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from google.protobuf.wrappers_pb2 import StringValue

from devhost.taskhub.state import FINISHED, Entity, Instance, Lock, Message, Parent, microseconds, timestamp

COLUMNS = (
    "id, execution, name, version, status, created, updated, completed, start_at, input, output, custom_status,"
    " failure, trace, tags, parent_id, parent_execution, parent_task, parent_name"
)
PAGE = 100
"""Instances or entities of a page whose size the caller does not say."""

_UNFINISHED = f"status NOT IN ({', '.join(str(status) for status in sorted(FINISHED))})"


class Queries:
    """Questions to the file.

    Args:
        connection: To read with.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def state(self, instance_id: str, *, payloads: bool) -> pb.OrchestrationState | None:
        """What clients are told of an orchestration."""
        row = self._rows(f"SELECT {COLUMNS} FROM instances WHERE id = ?", instance_id)
        return _state(row[0], payloads=payloads) if row else None

    def instance(self, instance_id: str) -> Instance | None:
        """An orchestration as it is kept in memory, whether it has ended or not."""
        rows = self._rows(f"SELECT {COLUMNS} FROM instances WHERE id = ?", instance_id)
        return self._instance(rows[0]) if rows else None

    def unfinished(self) -> Iterator[Instance]:
        """All that have not ended."""
        return map(self._instance, self._rows(f"SELECT {COLUMNS} FROM instances WHERE {_UNFINISHED}"))

    def history(self, instance: Instance) -> pb.HistoryChunk:
        """All events of the present execution."""
        chunk = pb.HistoryChunk()
        for (events,) in self._rows(
            "SELECT events FROM history WHERE instance = ? AND execution = ? ORDER BY episode",
            instance.id,
            instance.execution,
        ):
            chunk.MergeFromString(events)
        return chunk

    def messages(self) -> Iterator[Message]:
        """All messages that were not received, in order."""
        rows = self._rows("SELECT seq, target, execution, due, event FROM messages ORDER BY seq")
        return (
            Message(seq, target, pb.HistoryEvent.FromString(event), execution, due)
            for seq, target, execution, due, event in rows
        )

    def activities(self) -> Iterator[tuple[tuple[str, int, int], pb.ActivityRequest]]:
        """All activities without a result."""
        rows = self._rows(
            "SELECT instance, execution, task, request FROM activities ORDER BY instance, execution, task"
        )
        return ((row[:3], pb.ActivityRequest.FromString(row[3])) for row in rows)

    def locks(self) -> Iterator[Lock]:
        """All critical sections."""
        rows = self._rows("SELECT section, seq, instance, execution, entities, granted FROM locks ORDER BY seq")
        return (
            Lock(section, seq, instance, execution, json.loads(entities), bool(granted))
            for section, seq, instance, execution, entities, granted in rows
        )

    def last_number(self) -> int:
        """The highest number among messages, critical sections and executions."""
        numbered = ("seq", "messages"), ("seq", "locks"), ("execution", "activities"), ("execution", "instances")
        columns = [*numbered, ("parent_execution", "instances")]
        found = (self._rows(f"SELECT max({column}) FROM {table}")[0][0] for column, table in columns)
        return max(number or 0 for number in found)

    def entity(self, entity_id: str) -> Entity | None:
        """An entity that was used before."""
        rows = self._rows("SELECT id, state, modified FROM entities WHERE id = ?", entity_id)
        return Entity(*rows[0]) if rows else None

    def entities(self, query: pb.EntityQuery) -> tuple[list[Entity], str | None]:
        """A page of entities by id, and the token of the next page."""
        where = _Where()
        where.add("id >= ?", query.instanceIdStartsWith.value)
        where.add("substr(id, 1, ?) = ?", len(query.instanceIdStartsWith.value), query.instanceIdStartsWith.value)
        if query.HasField("lastModifiedFrom"):
            where.add("modified >= ?", microseconds(query.lastModifiedFrom))
        if query.HasField("lastModifiedTo"):
            where.add("modified < ?", microseconds(query.lastModifiedTo))
        if query.continuationToken.value:
            where.add("id > ?", query.continuationToken.value)
        size = query.pageSize.value if query.HasField("pageSize") and query.pageSize.value > 0 else PAGE
        rows = self._rows(
            f"SELECT id, state, modified FROM entities {where} ORDER BY id LIMIT ?", *where.values, size + 1
        )
        return [Entity(*row) for row in rows[:size]], rows[size - 1][0] if len(rows) > size else None

    def empty_entities(self) -> list[str]:
        """Ids of the entities without a state."""
        return [row[0] for row in self._rows("SELECT id FROM entities WHERE state IS NULL")]

    def instances(self, query: pb.InstanceQuery) -> tuple[list[pb.OrchestrationState], str | None]:
        """A page of orchestrations, oldest first, and the token of the next page."""
        where = _Where()
        if query.runtimeStatus:
            where.is_in("status", query.runtimeStatus)
        _created_within(where, query)
        if prefix := query.instanceIdPrefix.value:
            where.add("substr(id, 1, ?) = ?", len(prefix), prefix)
        if (after := _position(query.continuationToken.value)) is not None:
            where.add("(created, id) > (?, ?)", *after)
        size = query.maxInstanceCount if query.maxInstanceCount > 0 else PAGE
        rows = self._rows(
            f"SELECT {COLUMNS} FROM instances {where} ORDER BY created, id LIMIT ?", *where.values, size + 1
        )
        token = f"{rows[size - 1][5]}|{rows[size - 1][0]}" if len(rows) > size else None
        return [_state(row, payloads=query.fetchInputsAndOutputs) for row in rows[:size]], token

    def last_ended(self, count: int) -> list[pb.OrchestrationState]:
        """The last orchestrations that have ended, newest first."""
        rows = self._rows(
            f"SELECT {COLUMNS} FROM instances WHERE completed IS NOT NULL ORDER BY completed DESC, id LIMIT ?", count
        )
        return [_state(row, payloads=True) for row in rows]

    def counts(self) -> dict[pb.OrchestrationStatus, int]:
        """How many orchestrations have which status."""
        return dict(self._rows("SELECT status, count(*) FROM instances GROUP BY status"))

    def ended_ids(self, request: pb.ListInstanceIdsRequest) -> tuple[list[str], str | None]:
        """A page of ids of orchestrations that have ended, by their end, and the key of the last."""
        where = _Where()
        where.is_in("status", request.runtimeStatus or sorted(FINISHED))
        where.add("completed IS NOT NULL")
        if request.HasField("completedTimeFrom"):
            where.add("completed >= ?", microseconds(request.completedTimeFrom))
        if request.HasField("completedTimeTo"):
            where.add("completed < ?", microseconds(request.completedTimeTo))
        if (after := _position(request.lastInstanceKey.value)) is not None:
            where.add("(completed, id) > (?, ?)", *after)
        size = request.pageSize if request.pageSize > 0 else PAGE
        rows = self._rows(
            f"SELECT id, completed FROM instances {where} ORDER BY completed, id LIMIT ?", *where.values, size + 1
        )
        key = f"{rows[size - 1][1]}|{rows[size - 1][0]}" if len(rows) > size else None
        return [row[0] for row in rows[:size]], key

    def purgeable(self, purge: pb.PurgeInstanceFilter) -> list[str]:
        """Ids of the ended orchestrations that a filter names."""
        where = _Where()
        where.is_in("status", sorted(FINISHED.intersection(purge.runtimeStatus) if purge.runtimeStatus else FINISHED))
        _created_within(where, purge)
        return [row[0] for row in self._rows(f"SELECT id FROM instances {where}", *where.values)]

    def children(self, instance_id: str) -> list[str]:
        """Ids of the sub-orchestrations of an orchestration, ended or not."""
        return [row[0] for row in self._rows("SELECT id FROM instances WHERE parent_id = ?", instance_id)]

    def input_of(self, instance_id: str) -> str | None:
        """What an orchestration was started with."""
        ((input,),) = self._rows("SELECT input FROM instances WHERE id = ?", instance_id)
        return input

    def _instance(self, row: Sequence[Any]) -> Instance:
        found = _named(row)
        parent = Parent(*row[15:]) if found["parent_id"] is not None else None
        instance = Instance(
            found["id"],
            found["name"],
            found["created"],
            found["execution"],
            found["version"],
            found["status"],
            pb.TraceContext.FromString(found["trace"]) if found["trace"] is not None else None,
            json.loads(found["tags"]),
            parent,
            clock=found["updated"],
            start_at=found["start_at"],
            ended=found["status"] in FINISHED,
        )
        ((instance.episodes,),) = self._rows(
            "SELECT count(*) FROM history WHERE instance = ? AND execution = ?", instance.id, instance.execution
        )
        if instance.episodes:
            instance.start_at = None
        return instance

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        return self._connection.execute(sql, values).fetchall()


class _Where:
    """Conditions of a query and their values."""

    def __init__(self) -> None:
        self._conditions = ["1"]
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        self._conditions.append(condition)
        self.values.extend(values)

    def is_in(self, column: str, values: Collection[Any]) -> None:
        self.add(f"{column} IN ({', '.join('?' * len(values))})", *values)

    def __str__(self) -> str:
        return f"WHERE {' AND '.join(self._conditions)}"


def _created_within(where: _Where, period: pb.InstanceQuery | pb.PurgeInstanceFilter) -> None:
    if period.HasField("createdTimeFrom"):
        where.add("created >= ?", microseconds(period.createdTimeFrom))
    if period.HasField("createdTimeTo"):
        where.add("created < ?", microseconds(period.createdTimeTo))


def _position(token: str) -> tuple[int, str] | None:
    at, found, instance_id = token.partition("|")
    return (int(at), instance_id) if found and at.isdigit() else None


def _named(row: Sequence[Any]) -> dict[str, Any]:
    return {str(name): value for name, value in zip(COLUMNS.replace(" ", "").split(","), row, strict=True)}


def _state(row: Sequence[Any], *, payloads: bool) -> pb.OrchestrationState:
    found = _named(row)
    state = pb.OrchestrationState(
        instanceId=found["id"],
        name=found["name"],
        orchestrationStatus=found["status"],
        createdTimestamp=timestamp(found["created"]),
        lastUpdatedTimestamp=timestamp(found["updated"]),
        executionId=StringValue(value=str(found["execution"])),
        tags=json.loads(found["tags"]),
    )
    if found["completed"] is not None:
        state.completedTimestamp.CopyFrom(timestamp(found["completed"]))
    if found["start_at"] is not None:
        state.scheduledStartTimestamp.CopyFrom(timestamp(found["start_at"]))
    if found["failure"] is not None:
        state.failureDetails.ParseFromString(found["failure"])
    texts = {"version": "version", "custom_status": "customStatus", "parent_id": "parentInstanceId"}
    for column, name in (texts | ({"input": "input", "output": "output"} if payloads else {})).items():
        if found[column] is not None:
            getattr(state, name).value = found[column]
    return state
