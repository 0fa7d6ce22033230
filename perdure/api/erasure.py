"""Erasing what is kept of a user, or of one conversation: in every container, with vectors and durable history.

1. The erasure is noted. From then on it will be done, if need be by a timer.
2. Tasks that run are ended, and every orchestration is removed from the task hub.
3. Everything is deleted. What was at work may have written something in the meantime; so when a task or an ingestion
   was, everything is looked through once more, after the longest time that an activity can still be at work.
"""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from perdure.api.problems import NotFound
from perdure.api.tasks import end
from perdure.bootstrap import Services
from perdure.documents.port import DocumentError, DocumentMissing
from perdure.domain.principal import NAME_PATTERN
from perdure.domain.task import Reason, Task
from perdure.stores.erasures import Erasure

SECONDS = 20.0
"""How long one attempt may take. What is left then is done by the next."""

GRACE = timedelta(seconds=60)
"""How much longer than its time-out an activity may be at work."""

CUT_SHORT = (Reason.CANCELLED, Reason.TERMINATED, Reason.TIME_LIMIT, Reason.LOST, Reason.INTERNAL_ERROR)
"""Ends that wait for nothing: the model or a tool that was at work then may still be, and write what it has."""

logger = logging.getLogger(__name__)


class Hub(Protocol):
    """The task hub, as far as an erasure needs it."""

    async def is_running(self, instance: str) -> bool:
        """Whether an orchestration runs; also when nobody can tell."""
        ...

    async def remove(self, instance: str) -> int | None:
        """End an orchestration and remove its history: how many there were, or None when it is to be tried again."""
        ...


def user_named(text: str) -> str:
    """Return the name of a user, of whom something may be kept or not. Raises NotFound when nobody can be called so."""
    if not re.fullmatch(NAME_PATTERN, text):
        raise NotFound(f"There is no user {text[:64]!r}: nobody can be called so.")
    return text


async def advance(app: Services, hub: Hub, erasure: Erasure) -> Erasure:
    """Do what can be done of an erasure now; returns it as it stands."""
    removed = Counter[str]()
    try:
        async with asyncio.timeout(SECONDS):
            erasure = await _sweep(app, hub, erasure, removed)
    except TimeoutError:
        pass
    return await app.erasures.save(erasure, removed)


async def advance_all(app: Services, hub: Hub) -> None:
    """Do what can be done of all erasures that are not complete."""
    for erasure in await app.erasures.incomplete():
        try:
            await advance(app, hub, erasure)
        except DocumentError as error:
            logger.warning("Erasure %s is not complete, and is tried again later: %s", erasure.id, error)


async def _sweep(app: Services, hub: Hub, erasure: Erasure, removed: Counter[str]) -> Erasure:
    tenant, user, data = erasure.tenant, erasure.user, app.user_data
    found = await data.tasks(tenant, user, erasure.thread)
    # What was begun after the erasure was asked for is none of its business.
    tasks = [task for task in found if task.begun_at <= erasure.requested_at]
    ingestions = await data.ingestions(tenant, user) if erasure.thread is None else []
    writing = [task.id for task in tasks if _may_write(app, task)]
    if writing or await _any_runs(hub, ingestions):
        erasure = replace(erasure, open_tasks=tuple(writing), settles_at=datetime.now(UTC) + _longest_activity(app))
        # Noted before they are ended: afterwards nothing would tell that they were at work.
        erasure = await app.erasures.save(erasure, {})
    running = [task for task in tasks if task.reason is None]
    for task in running:
        # Unless another erasure has removed it by now.
        with suppress(DocumentMissing):
            await end(app, task, Reason.CANCELLED, "What is kept of it was erased.")
    ids = sorted({*(task.id for task in tasks), *erasure.open_tasks})
    unremoved = 0
    for instance in [*ids, *ingestions]:
        if (count := await hub.remove(instance)) is None:
            unremoved += 1
        else:
            removed["history"] += count
    if erasure.thread is None:
        places = await data.places(tenant, user, ids)
    else:
        places = data.places_of_thread(tenant, user, erasure.thread, ids)
    for place in [*places, *data.places_of_nobody(tenant)]:
        removed += await data.erase(place)
    if erasure.thread is None:
        app.api_keys.forget_user(tenant, user)
    now = datetime.now(UTC)
    over = not unremoved and (erasure.settles_at is None or now >= erasure.settles_at)
    return replace(erasure, completed_at=now if over else None)


def _may_write(app: Services, task: Task) -> bool:
    """Whether an activity of a task may still be at work."""
    if task.reason is None:
        return True
    ended = task.ended_at or task.created_at
    return task.reason in CUT_SHORT and datetime.now(UTC) < ended + _longest_activity(app)


async def _any_runs(hub: Hub, instances: Sequence[str]) -> bool:
    for instance in instances:
        if await hub.is_running(instance):
            return True
    return False


def _longest_activity(app: Services) -> timedelta:
    longest = max([app.settings.model_timeout, *(tool.timeout for tool in app.tools)])
    return timedelta(seconds=longest) + GRACE
