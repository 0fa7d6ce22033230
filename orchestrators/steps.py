"""One step of a task: the model is asked, its tool calls run, and a person is waited for where one must agree."""

from datetime import timedelta
from typing import Any

from durabletask import task as durable

from orchestrators.tool_turn import call_tools
from orchestrators.waits import Events, Move, Steps, call
from perdure.domain.names import APPROVAL, LOOK_AT_APPROVALS, MODEL_STEP
from perdure.domain.next_step import (
    AskApproval,
    CallTools,
    Finish,
    Look,
    StepOutcome,
    Wait,
    decide,
    decide_on_look,
)
from perdure.domain.references import Run
from perdure.domain.task import Reason


def take_step(ctx: durable.OrchestrationContext, run: Run, events: Events) -> Steps[Move]:
    ctx.set_custom_status(f"step {run.step}: model")
    step = call(ctx, MODEL_STEP, run.step_ref.to_dict())
    if finish := (yield from events.before(step)):
        return finish
    match _decision(ctx, step, run):
        case CallTools() as calls:
            return (yield from call_tools(ctx, run, events, calls))
        case Wait(seconds, failures, outage):
            run = run.same_step_again(failures, outage)
            if not seconds:
                return run
            ctx.set_custom_status(f"step {run.step}: waiting {seconds:g} s for the model")
            return (yield from events.before(ctx.create_timer(timedelta(seconds=seconds)))) or run
        case Finish() as end:
            return end


def await_approval(ctx: durable.OrchestrationContext, run: Run, events: Events) -> Steps[Move]:
    ctx.set_custom_status(f"step {run.step}: waiting for a person")
    if events.decided.is_complete:
        events.decided = ctx.wait_for_external_event(APPROVAL)
    looking = call(ctx, LOOK_AT_APPROVALS, run.step_ref.to_dict())
    if finish := (yield from events.before(looking)):
        return finish
    if looking.is_failed:
        return Finish(Reason.INTERNAL_ERROR, "The approvals could not be read; the log says why.")
    match decide_on_look(Look.from_dict(looking.get_result()), run):
        case CallTools() as calls:
            return (yield from call_tools(ctx, run, events, calls))
        case AskApproval(seconds):
            return (yield from events.decision(ctx, run, seconds))
        case Finish() as end:
            return end


def _decision(ctx: durable.OrchestrationContext, step: durable.Task[Any], run: Run) -> CallTools | Wait | Finish:
    if step.is_failed:
        return Finish(Reason.INTERNAL_ERROR, "A model step failed repeatedly; the log says why.")
    return decide(StepOutcome.from_dict(step.get_result()), run, ctx.current_utc_datetime)
