"""What a task waits for: activities, and what may come from outside meanwhile."""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
from durabletask import task as durable

from perdure.domain.names import APPROVAL, CANCEL, TURN
from perdure.domain.next_step import Finish
from perdure.domain.references import Json, Run
from perdure.domain.task import Reason

RETRY = df.RetryPolicy(
    first_retry_interval=timedelta(seconds=1),
    max_number_of_attempts=8,
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(seconds=30),
)
"""For faults outside the loop's own decisions: a store that does not answer, a tool that asks to be tried again.
Eight attempts span about a minute and a half."""

OUT_OF_TIME = Finish(Reason.TIME_LIMIT, "The task reached its time limit.")

type Move = Run | Finish
"""What a round comes to: go on from here, or end the task."""

type Steps[T] = Generator[durable.Task[Any], Any, T]


def call(ctx: durable.OrchestrationContext, activity: str, reference: Json) -> durable.Task[Json]:
    """Schedule an activity."""
    return ctx.call_activity(activity, input=reference, retry_policy=RETRY, return_type=dict)


@dataclass(slots=True)
class Events:
    """What may come from outside while a task waits. Its turn and approvals may come several times; the others once."""

    deadline: durable.Task[Any]
    cancelled: durable.Task[Any]
    turn: durable.Task[Any]
    decided: durable.Task[Any]

    @classmethod
    def of(cls, ctx: durable.OrchestrationContext, run: Run) -> "Events":
        deadline = ctx.create_timer(run.deadline_utc)
        return cls(deadline, *map(ctx.wait_for_external_event, (CANCEL, TURN, APPROVAL)))

    def before(self, work: durable.Task[Any]) -> Steps[Finish | None]:
        """Wait for work; the finish to make when the deadline or a cancellation comes before it."""
        winner = yield durable.when_any([work, self.deadline, self.cancelled])
        if winner is self.deadline:
            return OUT_OF_TIME
        return Finish(Reason.CANCELLED) if winner is self.cancelled else None

    def decision(self, ctx: durable.OrchestrationContext, run: Run, seconds: float) -> Steps[Move]:
        """Wait for a person's decision, for so long at most. The time does not count towards the deadline."""
        begun = ctx.current_utc_datetime
        # The event saves time. The timer heals when it is lost, and notices when nobody decides.
        yield durable.when_any([self.decided, ctx.create_timer(timedelta(seconds=seconds)), self.cancelled])
        if self.cancelled.is_complete:
            return Finish(Reason.CANCELLED)
        return self.after_pause(ctx, run, ctx.current_utc_datetime - begun)

    def after_pause(self, ctx: durable.OrchestrationContext, run: Run, pause: timedelta) -> Run:
        """Set the deadline anew after time that does not count."""
        run = run.after_pause(pause)
        self.deadline = ctx.create_timer(run.deadline_utc)
        return run
