"""Starts of tasks that were asked for with an Idempotency-Key, one document a key, kept for a day.

    <hash of user and key>    the task's id, what was asked for, and whether the start is done

Who creates the document makes the start. Who finds it done has the task; who finds it begun waits, and makes the start
itself, with the same task id, when whoever began it must be gone.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from perdure.documents.containers import CONTROLS
from perdure.documents.port import DocumentChanged, DocumentExists, DocumentMissing, Documents, Partition, Stored
from perdure.domain.principal import Principal

KIND = "start"

KEPT_SECONDS = 24 * 3600
"""How long a key stands for its task."""

TAKEOVER = timedelta(seconds=30)
"""A start that was begun so long ago is not being made any more."""


@dataclass(frozen=True, slots=True)
class Started:
    """The start was made."""

    task: str


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Somebody else is making the start."""


@dataclass(frozen=True, slots=True)
class AnotherRequest:
    """The key was used for something else."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The start is the caller's to make, of the task with this id."""

    task: str
    partition: Partition
    stored: Stored


type Found = Claim | Started | UnderWay | AnotherRequest


class StartStore:
    """Starts by their keys."""

    def __init__(self, store: Documents) -> None:
        self._store = store

    async def claim(self, who: Principal, key: str, asked: str, task: str) -> Found:
        """Find out whether a start is to be made.

        Args:
            key: The caller's key.
            asked: A hash of what is asked for.
            task: Id of the task if this is the first time.
        """
        partition = (who.tenant, KIND)
        id = hashlib.sha256(f"{who.user}\0{key}".encode()).hexdigest()
        now = datetime.now(UTC)
        body: Mapping[str, Any] = {
            "id": id, "type": KIND, "user": who.user, "task": task, "asked": asked,
            "begun_at": now.isoformat(), "done": False, "ttl": KEPT_SECONDS,
        }  # fmt: skip
        try:
            return Claim(task, partition, await self._store.create(CONTROLS, partition, dict(body)))
        except DocumentExists:
            found = await self._store.read(CONTROLS, partition, id)
        if found is None:
            return UnderWay()  # It was given up a moment ago; ask again.
        if found.body["asked"] != asked:
            return AnotherRequest()
        if found.body["done"]:
            return Started(found.body["task"])
        if now < datetime.fromisoformat(found.body["begun_at"]) + TAKEOVER:
            return UnderWay()
        try:
            again = await self._store.replace(
                CONTROLS, partition, {**found.body, "begun_at": now.isoformat()}, found.etag
            )
        except (DocumentChanged, DocumentMissing):
            return UnderWay()
        return Claim(found.body["task"], partition, again)

    async def done(self, claim: Claim) -> None:
        """Let the key stand for its task. If somebody took the start over meanwhile, they will."""
        try:
            await self._store.replace(CONTROLS, claim.partition, {**claim.stored.body, "done": True}, claim.stored.etag)
        except (DocumentChanged, DocumentMissing):
            return

    async def give_up(self, claim: Claim) -> None:
        """Let the next request with the key make the start anew."""
        try:
            await self._store.delete(CONTROLS, claim.partition, claim.stored.body["id"])
        except DocumentMissing:
            return
