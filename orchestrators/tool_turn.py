"""The tool calls of one turn: run side by side, and each brought to an outcome, even one of which nothing is heard.

1. Run them, and wait for all. While none ends for as long as the slowest may take, the rest is given up.
2. Settle those that ended without an outcome or were given up. One that may still be at work is waited for.
3. If a person has to say what became of some, or whether others may run, wait for them; otherwise the next step comes.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from durabletask import task as durable

from orchestrators.waits import Events, Move, Steps, call
from perdure.domain.names import SETTLE_CALLS, tool_activity
from perdure.domain.next_step import CallTools, Finish, Settled
from perdure.domain.references import Run
from perdure.domain.task import CallState, Reason

ALLOWANCE = timedelta(seconds=120)
"""What comes on top of a tool's time-out: for the way to a worker, and for the attempts at a tool that is unavailable,
which span a minute and a half."""

KNOWN = (CallState.COMMITTED, CallState.FAILED)


def call_tools(ctx: durable.OrchestrationContext, run: Run, events: Events, tools: CallTools) -> Steps[Move]:
    awaiting = tools.awaiting
    if tools.calls:
        ctx.set_custom_status(f"step {run.step}: {len(tools.calls)} tool calls")
        work = {index: call(ctx, tool_activity(tool), run.call_ref(index).to_dict()) for index, tool in tools.calls}
        longest = timedelta(seconds=tools.timeout) + ALLOWANCE
        if finish := (yield from _end_or_stall(ctx, events, list(work.values()), longest)):
            return finish
        if left := [index for index, task in work.items() if not _has_outcome(task)]:
            settled = yield from _settle(ctx, run, events, left)
            if isinstance(settled, Finish):
                return settled
            awaiting = awaiting or settled
    return run.awaiting_approval() if awaiting else run.next_step()


def _end_or_stall(
    ctx: durable.OrchestrationContext, events: Events, work: Sequence[durable.Task[Any]], longest: timedelta
) -> Steps[Finish | None]:
    """Wait for all work, or until none of it has ended for so long. One timer does for all, and a queue may be long."""
    everything, ended = durable.when_all(list(work)), -1
    while not everything.is_complete and (so_far := sum(task.is_complete for task in work)) > ended:
        ended = so_far
        end_or_stall: list[durable.Task[Any]] = [everything, ctx.create_timer(longest)]
        if finish := (yield from events.before(durable.when_any(end_or_stall))):
            return finish
    return None


def _has_outcome(task: durable.Task[Any]) -> bool:
    return task.is_complete and not task.is_failed and task.get_result()["state"] in KNOWN


def _settle(ctx: durable.OrchestrationContext, run: Run, events: Events, calls: list[int]) -> Steps[Finish | bool]:
    """Give calls an outcome, and say whether people are asked about some."""
    while True:
        settling = call(ctx, SETTLE_CALLS, run.calls_ref(calls).to_dict())
        if finish := (yield from events.before(settling)):
            return finish
        if settling.is_failed:
            return Finish(Reason.INTERNAL_ERROR, "Tool calls could not be settled; the log says why.")
        settled = Settled.from_dict(settling.get_result())
        if settled.again is None:
            return settled.awaiting
        if finish := (yield from events.before(ctx.create_timer(timedelta(seconds=settled.again)))):
            return finish
