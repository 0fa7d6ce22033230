"""One task, from its first model step to its end.

1. If the task continues a thread, wait until it is the thread's writer.
2. Ask for a model step and decide what follows.
3. Run the tool calls it asked for side by side, and wait until each has an outcome.
4. Repeat from 2 until the decision is to finish; then record the end.

The deadline and a cancellation may come at any of these waits. After GENERATION rounds the task continues as new, so
that its history stays short.
"""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_never

import azure.durable_functions as df
from durabletask import task as durable

from perdure.domain.names import AGENT_TASK, CANCEL, FINISH_TASK, JOIN_THREAD, MODEL_STEP, TURN, tool_activity
from perdure.domain.next_step import CallTools, Finish, StepOutcome, Wait, decide
from perdure.domain.references import Json, Run
from perdure.domain.task import Reason

GENERATION = 10
"""Rounds before a task continues as new. A round with one tool call adds about 1 KB of history."""

PATIENCE = timedelta(seconds=30)
"""How often a task that waits for its thread looks for itself."""

RETRY = df.RetryPolicy(
    first_retry_interval=timedelta(seconds=1),
    max_number_of_attempts=8,
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(seconds=30),
)
"""For faults outside the loop's own decisions: a store that does not answer, a tool that asks to be tried again.
Eight attempts span about a minute and a half."""

type Steps[T] = Generator[durable.Task[Any], Any, T]
type Move = Run | Finish
"""What a round comes to: go on from here, or end the task."""


def agent_task(ctx: durable.OrchestrationContext, input: dict) -> Steps[Json | None]:
    run = Run.from_dict(input)
    if run.task != ctx.instance_id:
        raise ValueError(f"an orchestration runs the task whose id it has, not {run.task}")
    events = Events(ctx.create_timer(run.deadline_utc), *map(ctx.wait_for_external_event, (CANCEL, TURN)))
    for _ in range(GENERATION):
        move = yield from (_take_step if run.may_write else _join_thread)(ctx, run, events)
        match move:
            case Run():
                run = move
            case Finish():
                return (yield from _finish(ctx, run, move))
            case other:
                assert_never(other)
    ctx.continue_as_new(run.to_dict(), save_events=True)
    return None


@dataclass(slots=True)
class Events:
    """What may come from outside while a task waits. Its turn may come several times; the others once."""

    deadline: durable.Task[Any]
    cancelled: durable.Task[Any]
    turn: durable.Task[Any]

    def before(self, work: durable.Task[Any]) -> Steps[Finish | None]:
        """Wait for work; the finish to make when the deadline or a cancellation comes before it."""
        winner = yield durable.when_any([work, self.deadline, self.cancelled])
        if winner is self.deadline:
            return Finish(Reason.TIME_LIMIT, "The task reached its time limit.")
        return Finish(Reason.CANCELLED) if winner is self.cancelled else None


def _take_step(ctx: durable.OrchestrationContext, run: Run, events: Events) -> Steps[Move]:
    ctx.set_custom_status(f"step {run.step}: model")
    step = _call(ctx, MODEL_STEP, run.step_ref.to_dict())
    if finish := (yield from events.before(step)):
        return finish
    match _decision(step, run):
        case CallTools(calls):
            ctx.set_custom_status(f"step {run.step}: {len(calls)} tool calls")
            work = [_call(ctx, tool_activity(tool), run.call_ref(index).to_dict()) for index, tool in calls]
            # All or none of them may have failed: each has written its own outcome, or the next model step tells the
            # model that it has none. (Waiting for no task at all would never end.)
            finish = (yield from events.before(durable.when_all(work))) if work else None
            return finish or run.next_step()
        case Wait(seconds, failures):
            ctx.set_custom_status(f"step {run.step}: waiting {seconds:g} s for the model")
            finish = yield from events.before(ctx.create_timer(timedelta(seconds=seconds)))
            return finish or run.same_step_again(failures)
        case Finish() as end:
            return end


def _join_thread(ctx: durable.OrchestrationContext, run: Run, events: Events) -> Steps[Move]:
    ctx.set_custom_status("waiting for the thread")
    if events.turn.is_complete:
        events.turn = ctx.wait_for_external_event(TURN)
    joining = _call(ctx, JOIN_THREAD, run.step_ref.to_dict())
    if finish := (yield from events.before(joining)):
        return finish
    if joining.is_failed:
        return Finish(Reason.INTERNAL_ERROR, "The thread could not be joined; the log says why.")
    if joining.get_result()["joined"]:
        return run.as_writer()
    # The event saves time. The timer heals when it is lost, or when the writer died and nobody sends it.
    wake = durable.when_any([events.turn, ctx.create_timer(PATIENCE)])
    return (yield from events.before(wake)) or run


def _finish(ctx: durable.OrchestrationContext, run: Run, finish: Finish) -> Steps[Json]:
    ctx.set_custom_status(str(finish.reason))
    output: Json = yield _call(ctx, FINISH_TASK, run.closing(finish.reason, finish.detail).to_dict())
    if next_writer := output.pop("next_writer", None):
        ctx.send_event(next_writer, TURN)
    return output


def _call(ctx: durable.OrchestrationContext, activity: str, reference: Json) -> durable.Task[Json]:
    return ctx.call_activity(activity, input=reference, retry_policy=RETRY, return_type=dict)


def _decision(step: durable.Task[Any], run: Run) -> CallTools | Wait | Finish:
    if step.is_failed:
        return Finish(Reason.INTERNAL_ERROR, "A model step failed repeatedly; the log says why.")
    return decide(StepOutcome.from_dict(step.get_result()), run)


bp = df.Blueprint()
bp.orchestration_trigger(context_name="ctx", orchestration=AGENT_TASK)(agent_task)
