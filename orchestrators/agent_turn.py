"""The agents that one asks in a turn: each is a task of its own, beside the turn's tools.

Each ends by itself, at its asker's time limit at the latest, which moves while it waits for a person. So its asker
waits for it without a limit of its own. A cancellation ends both.
"""

from datetime import timedelta
from typing import Any

from durabletask import task as durable

from orchestrators.waits import OUT_OF_TIME, Events, Steps
from perdure.domain.names import AGENT_TASK, CANCEL
from perdure.domain.next_step import Finish
from perdure.domain.references import Ask, Run
from perdure.domain.task import Reason

type Asked = dict[Ask, durable.Task[Any]]
"""The agents that are asked, and the tasks that answer."""


def ask_agents(ctx: durable.OrchestrationContext, run: Run, asks: tuple[Ask, ...]) -> Asked:
    runs = {ask: run.asking(ask, ctx.current_utc_datetime).to_dict() for ask in asks}
    return {
        ask: ctx.call_sub_orchestrator(AGENT_TASK, input=input, instance_id=ask.task, return_type=dict)
        for ask, input in runs.items()
    }


def await_agents(ctx: durable.OrchestrationContext, run: Run, events: Events, asked: Asked) -> Steps[Run | Finish]:
    """Wait for all. Time that they waited for people does not count; the longest of them stands for all."""
    yield durable.when_any([durable.when_all(list(asked.values())), events.cancelled])
    if events.cancelled.is_complete:
        return Finish(Reason.CANCELLED)
    paused = max((task.get_result()["paused"] for task in asked.values() if has_answer(task)), default=0.0)
    if paused:
        run = events.after_pause(ctx, run, timedelta(seconds=paused))
    # Looked at before anything else is begun: they may have ended because the time is over.
    return OUT_OF_TIME if ctx.current_utc_datetime >= run.deadline_utc else run


def has_answer(task: durable.Task[Any]) -> bool:
    return task.is_complete and not task.is_failed


def stop_agents(ctx: durable.OrchestrationContext, asked: Asked) -> None:
    """Tell those that still run to end."""
    for ask, task in asked.items():
        if not task.is_complete:
            ctx.send_event(ask.task, CANCEL)
