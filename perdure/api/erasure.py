"""Erasing what is kept of a user, or of one conversation: in every container, with vectors and durable history.

1. The erasure is noted. From then on it will be done, if need be by a timer.
2. Tasks that run are ended, and every orchestration is removed from the task hub.
3. Everything is deleted. What was running may have written something in the meantime; so when a task was, everything
   is looked through once more, after the longest time that an activity can still be at work.
"""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from perdure.api.tasks import end
from perdure.bootstrap import Services
from perdure.domain.task import Reason
from perdure.stores.erasures import Erasure

SECONDS = 20.0
"""How long one attempt may take. What is left then is done by the next."""

GRACE = timedelta(seconds=60)
"""How much longer than its time-out an activity may be at work."""


class Hub(Protocol):
    """The task hub, as far as an erasure needs it."""

    async def remove(self, instance: str) -> int | None:
        """End an orchestration and remove its history: how many there were, or None when it is to be tried again."""
        ...


async def advance(app: Services, hub: Hub, erasure: Erasure) -> Erasure:
    """Do what can be done of an erasure now; returns it as it stands."""
    removed = Counter[str]()
    try:
        async with asyncio.timeout(SECONDS):
            erasure = await _sweep(app, hub, erasure, removed)
    except TimeoutError:
        pass
    return await app.erasures.save(erasure, removed)


async def _sweep(app: Services, hub: Hub, erasure: Erasure, removed: Counter[str]) -> Erasure:
    tenant, user, data = erasure.tenant, erasure.user, app.user_data
    found = await data.tasks(tenant, user, erasure.thread)
    # What was begun after the erasure was asked for is none of its business.
    tasks = [task for task in found if task.created_at <= erasure.requested_at]
    running = [task for task in tasks if task.reason is None]
    if running:
        names = tuple(task.id for task in running)
        erasure = replace(erasure, open_tasks=names, settles_at=datetime.now(UTC) + _longest_activity(app))
        # Noted before they are ended: afterwards nothing would tell that they were running.
        erasure = await app.erasures.save(erasure, {})
    for task in running:
        await end(app, task, Reason.CANCELLED, "What is kept of it was erased.")
    ids = sorted({*(task.id for task in tasks), *erasure.open_tasks})
    ingestions = await data.ingestions(tenant, user) if erasure.thread is None else []
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
    now = datetime.now(UTC)
    over = not running and not unremoved and (erasure.settles_at is None or now >= erasure.settles_at)
    return replace(erasure, completed_at=now if over else None)


def _longest_activity(app: Services) -> timedelta:
    longest = max([app.settings.model_timeout, *(tool.timeout for tool in app.tools)])
    return timedelta(seconds=longest) + GRACE
