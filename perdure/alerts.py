"""Word to somebody when a task, or a day of a user, costs unusually much: one message to a webhook.

1. A task has ended. Whoever ended it has its cost at hand, and asks for the user's last days: one request to the store.
2. A task that left the usual range is told of at once: a task ends once. A day is told of by whoever is the first to
   note in the user's usage of that day that it was.
3. The message is sent, once, with a time limit. Whatever becomes of it, the log has a line that says the same.

All of that happens beside the task, which is over by then, and holds up nothing.
"""

import asyncio
import logging
from datetime import UTC, date, datetime, timedelta

from perdure.alert_settings import AlertSettings
from perdure.documents.port import DocumentError
from perdure.domain.budget import MICRO
from perdure.domain.task import Task, TaskRecord
from perdure.domain.usual_cost import DAYS, DayCost, usual_day, usual_task
from perdure.stores.usage import UsageStore, Used

SEND_SECONDS = 5.0

UNUSUAL = "Unusual cost: %s %s"
"""Logged for each alert."""

logger = logging.getLogger(__name__)

type Payload = dict[str, str | float | None]


class CostAlerts:
    """Looks at tasks that have ended."""

    def __init__(self, usage: UsageStore, settings: AlertSettings | None) -> None:
        self._usage = usage
        self._settings = settings
        self._looking = set[asyncio.Task[None]]()

    def look_at(self, record: TaskRecord) -> None:
        """Look at a task that has ended, beside whatever else happens."""
        if self._settings:
            looking = asyncio.create_task(self._look(record, self._settings))
            self._looking.add(looking)
            looking.add_done_callback(self._looking.discard)

    async def finish(self) -> None:
        """Wait until everything has been looked at and told."""
        while self._looking:
            await asyncio.wait(self._looking)

    async def _look(self, record: TaskRecord, settings: AlertSettings) -> None:
        task, now = record.task, datetime.now(UTC)
        today, spent = now.date(), record.spent.micro_usd
        try:
            costs = [
                DayCost(one.day, one.agent, one.micro_usd, one.tasks)
                async for one in self._usage.of_user(task.tenant, task.user, today - timedelta(days=DAYS), today)
                if isinstance(one, Used)
            ]
            usual = usual_task(costs, task.agent.name, today)
            if settings.task.is_left_by(spent, usual):
                told = {"alert": "task_cost", "agent": task.agent.name, "task_id": task.id}
                await self._tell(settings.webhook, told | _amounts(task, today, spent, usual))
            spent, usual = sum(cost.micro_usd for cost in costs if cost.day == today), usual_day(costs, today)
            if settings.day.is_left_by(spent, usual) and await self._usage.note_alert(task.tenant, task.user, today):
                told = {"alert": "day_cost", "agent": None, "task_id": None}
                await self._tell(settings.webhook, told | _amounts(task, today, spent, usual))
        except DocumentError as error:
            logger.warning("Nobody looked at what task %s cost: %s", task.id, error)

    async def _tell(self, webhook: str, payload: Payload) -> None:
        import httpx

        what, which = ("task", payload["task_id"]) if payload["task_id"] else ("day", payload["day"])
        logger.warning(UNUSUAL, what, which)
        try:
            async with asyncio.timeout(SEND_SECONDS), httpx.AsyncClient() as client:
                (await client.post(webhook, json=payload)).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            # Not what the error says: it quotes the address.
            logger.warning("The alert about %s %s was not taken: %s", what, which, type(error).__name__)


def _amounts(task: Task, day: date, spent: int, usual: int | None) -> Payload:
    return {
        "tenant": task.tenant,
        "user": task.user,
        "day": day.isoformat(),
        "cost_usd": spent / MICRO,
        "usual_usd": None if usual is None else usual / MICRO,
    }
