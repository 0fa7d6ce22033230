"""The tool calls of one turn: run side by side, and each brought to an outcome, even one of which nothing is heard.

1. Ask other agents, and run the tools beside them.
2. Wait for all tools. While none ends for as long as the slowest may take, the rest is given up.
3. Settle those that ended without an outcome or were given up. One that may still be at work is waited for.
4. Wait for the agents, and settle the calls of those that did not say how they ended.
5. If a person has to say what became of some, or whether others may run, wait for them; otherwise the next step comes.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from durabletask import task as durable

from orchestrators.agent_turn import Asked, ask_agents, await_agents, has_answer, stop_agents
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
    asked = ask_agents(ctx, run, tools.asks)
    awaiting = yield from _run_tools(ctx, run, events, tools)
    heard = awaiting if isinstance(awaiting, Finish) else (yield from _hear_agents(ctx, run, events, asked))
    if isinstance(heard, Finish):
        stop_agents(ctx, asked)
        return heard
    return heard.awaiting_approval() if awaiting or tools.awaiting else heard.next_step()


def _run_tools(ctx: durable.OrchestrationContext, run: Run, events: Events, tools: CallTools) -> Steps[Finish | bool]:
    """Run the tools, and say whether people are asked what became of some."""
    if not tools.calls:
        return False
    ctx.set_custom_status(f"step {run.step}: {len(tools.calls)} tool calls")
    work = {index: call(ctx, tool_activity(tool), run.call_ref(index).to_dict()) for index, tool in tools.calls}
    longest = timedelta(seconds=tools.timeout) + ALLOWANCE
    if finish := (yield from _end_or_stall(ctx, events, list(work.values()), longest)):
        return finish
    left = [index for index, task in work.items() if not _has_outcome(task)]
    return (yield from _settle(ctx, run, events, left)) if left else False


def _hear_agents(ctx: durable.OrchestrationContext, run: Run, events: Events, asked: Asked) -> Steps[Move]:
    if not asked:
        return run
    ctx.set_custom_status(f"step {run.step}: {len(asked)} agents")
    heard = yield from await_agents(ctx, run, events, asked)
    left = [ask.index for ask, task in asked.items() if not has_answer(task)]
    if left and isinstance(heard, Run):
        settled = yield from _settle(ctx, run, events, left)
        return settled if isinstance(settled, Finish) else heard
    return heard


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
