"""Runs the timer triggers: one loop for each function, so that a run never overlaps the one before it."""

import asyncio
import json
import logging
import os
import time
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from devhost.protos import TypedData
from devhost.schedule import Schedule, parse_schedule
from devhost.triggers import client_inputs, unserved
from devhost.worker import Function, TraceContext, Worker, new_invocation_id

logger = logging.getLogger("host.timers")


class Timer:
    """One timer-triggered function."""

    def __init__(self, function: Function, worker: Worker, client: str) -> None:
        """Makes a timer that does nothing before ``run``.

        Raises:
            ScheduleError: The schedule of the trigger cannot be read.
        """
        self.function = function
        self._schedule: Schedule = parse_schedule(str(function.trigger["schedule"]))
        self._worker = worker
        self._client = client
        self._zone: tzinfo = ZoneInfo(os.environ["WEBSITE_TIME_ZONE"]) if "WEBSITE_TIME_ZONE" in os.environ else UTC
        self._last: datetime | None = None

    async def run(self) -> None:
        """Fires by the schedule until cancelled."""
        if self.function.trigger.get("runOnStartup"):
            await self.fire()
        due = self._schedule.after(datetime.now(self._zone))
        while True:
            await asyncio.sleep(max(0.0, (due - datetime.now(self._zone)).total_seconds()))
            await self.fire()
            # A run that took longer than the interval swallows the times it missed.
            due = max(self._schedule.after(due), self._schedule.after(datetime.now(self._zone)))

    async def fire(self) -> None:
        """Runs the function once, now."""
        if missing := unserved(self.function):
            logger.error("'%s' cannot run: devhost does not serve %s", self.function.name, ", ".join(missing))
            return
        now, started = datetime.now(self._zone), time.monotonic()
        data = TypedData(json=json.dumps(self._timer_info(now)))
        self._last = now
        inputs = {self.function.trigger["name"]: data, **client_inputs(self.function, self._client)}
        logger.info("Executing '%s' (timer)", self.function.name)
        work = self._worker.invoke(self.function, inputs, TraceContext.started_by_host(), new_invocation_id())
        outcome = await asyncio.create_task(work)
        elapsed = round((time.monotonic() - started) * 1000)
        if outcome.failure is not None:
            trace = outcome.failure.stack_trace or outcome.failure.message
            logger.error("Executed '%s' (Failed, %s ms)\n%s", self.function.name, elapsed, trace)
        else:
            logger.info("Executed '%s' (Succeeded, %s ms)", self.function.name, elapsed)

    def _timer_info(self, now: datetime) -> dict[str, object]:
        following = self._schedule.after(now).isoformat()
        last = (self._last or now).isoformat()
        return {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": {"Last": last, "Next": following, "LastUpdated": last},
            "IsPastDue": False,
        }
