"""One task, from its first model step to its end.

1. If the task continues a thread, wait until it is the thread's writer.
2. Ask for a model step and decide what follows.
3. Run the tool calls it asked for side by side, until each has an outcome; another agent that it asked is one of these.
4. Wait for a person to decide on those that need approval or whose outcome is unknown, and run what may run (again).
5. Repeat from 2 until the decision is to finish; then record the end.

The deadline and a cancellation may come at any of these waits. After GENERATION rounds the task continues as new, so
that its history stays short.
"""

from datetime import timedelta
from typing import assert_never

import azure.durable_functions as df
from durabletask import task as durable

from orchestrators.steps import await_approval, take_step
from orchestrators.waits import Events, Move, Steps, call
from perdure.domain.names import AGENT_TASK, FINISH_TASK, JOIN_THREAD, TURN
from perdure.domain.next_step import Finish
from perdure.domain.references import Json, Run
from perdure.domain.task import Reason

GENERATION = 10
"""Rounds before a task continues as new. A round with one tool call adds about 1 KB of history."""

PATIENCE = timedelta(seconds=30)
"""How often a task that waits for its thread looks for itself."""


def agent_task(ctx: durable.OrchestrationContext, input: dict) -> Steps[Json | None]:
    run = Run.from_dict(input)
    if run.task != ctx.instance_id:
        raise ValueError(f"an orchestration runs the task whose id it has, not {run.task}")
    events = Events.of(ctx, run)
    for _ in range(GENERATION):
        move = yield from _round(ctx, run, events)
        match move:
            case Run():
                run = move
            case Finish():
                return (yield from _finish(ctx, run, move))
            case other:
                assert_never(other)
    ctx.continue_as_new(run.to_dict(), save_events=True)
    return None


def _round(ctx: durable.OrchestrationContext, run: Run, events: Events) -> Steps[Move]:
    if not run.may_write:
        return (yield from _join_thread(ctx, run, events))
    return (yield from (await_approval if run.awaiting else take_step)(ctx, run, events))


def _join_thread(ctx: durable.OrchestrationContext, run: Run, events: Events) -> Steps[Move]:
    ctx.set_custom_status("waiting for the thread")
    if events.turn.is_complete:
        events.turn = ctx.wait_for_external_event(TURN)
    joining = call(ctx, JOIN_THREAD, run.step_ref.to_dict())
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
    output: Json = yield call(ctx, FINISH_TASK, run.closing(finish.reason, finish.detail).to_dict())
    if next_writer := output.pop("next_writer", None):
        ctx.send_event(next_writer, TURN)
    # Who asked an agent does not count the time that it waited for people either.
    return output | {"paused": run.paused} if run.root else output


bp = df.Blueprint()
bp.orchestration_trigger(context_name="ctx", orchestration=AGENT_TASK)(agent_task)
