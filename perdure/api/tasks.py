"""What the task routes do, apart from speaking HTTP and starting orchestrations."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from perdure.agents import AgentDefinition
from perdure.api.problems import Conflict, Invalid, NotFound, TooManyRequests
from perdure.api.schemas.tasks import TaskRequest
from perdure.api.threads import enter_thread
from perdure.bootstrap import Services
from perdure.documents.port import DocumentError, DocumentMissing
from perdure.domain.principal import Principal
from perdure.domain.references import Reference, Run
from perdure.domain.task import Agent, Reason, Task
from perdure.domain.thread import leave
from perdure.loop.finish import tell
from perdure.stores.active import TooManyTasks
from perdure.telemetry import spans
from perdure.telemetry.logs import about
from perdure.telemetry.trace_ids import current_traceparent

START_SECONDS = 30
"""How long a task may exist before its orchestration does. One that has none by then will never have one."""

FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.1, 1.0
"""How often a waiting request looks whether its task has ended: soon at first, then once a second."""

AGAIN_SECONDS = 10
"""When to come back with a task that there was no room for. Nobody knows when one of those that run will end."""

_TASK_ID = re.compile(r"[0-9a-f]{32}")


async def submit(app: Services, who: Principal, request: TaskRequest, task_id: str) -> Task:
    """Store a new task, with its agent as it is defined now, in its thread if it names one. Done again, it completes
    what is missing.

    Raises:
        Invalid: There is no such agent, or nobody knows what its model costs and somebody has a budget of money for it.
        Conflict: The thread is busy.
        TooManyRequests: As many tasks of the user or of the tenant run as may.
    """
    definition = app.agents.get(request.agent)
    if definition is None:
        known = ", ".join(sorted(app.agents.by_name))
        raise Invalid([{"pointer": "/agent", "detail": f"there is no agent {request.agent!r}; there are: {known}"}])
    task = Task(
        id=task_id,
        tenant=who.tenant,
        user=who.user,
        query=request.query,
        context=request.context,
        agent=await _agent(app, definition, request),
        metadata=request.metadata,
        created_at=datetime.now(UTC),
        thread=request.thread_id,
        trace=current_traceparent(),
    )
    # The task first: whatever stops us from here on, a task that holds a thread is one that can be found and ended.
    task = await app.tasks.add(task, [tool.spec for tool in app.tools.select(definition.tools)])
    if task.reason is not None:
        return task
    try:
        await _count(app, task)
        if task.thread is not None:
            await enter_thread(app, who, task.thread, task.id, request.if_busy)
    except (Conflict, TooManyRequests, DocumentError):
        # It may be in the thread although the store did not say so. What cannot be undone here ends as lost.
        with suppress(DocumentError):
            await _leave_thread(app, task)
            await app.active.leave(task.tenant, task.user, task.id)
            await app.tasks.remove(task)
        raise
    return task


async def _agent(app: Services, definition: AgentDefinition, request: TaskRequest) -> Agent:
    """The agent as the task keeps it, within the request's budget. Raises Invalid."""
    prices = {model: await app.prices.of(model) for model in app.agents.models(definition, app.settings.model)}
    agent = app.agents.frozen(definition, app.settings.model, app.tools, prices)
    asked, most = request.budget, app.settings.allowances
    if asked is not None:
        lower = replace(
            agent.limits,
            max_steps=asked.steps or agent.limits.max_steps,
            max_seconds=asked.seconds or agent.limits.max_seconds,
        )
        agent = agent.within(asked.amount, lower)
    if (model := next((model for model, price in prices.items() if price is None), None)) is not None:
        unpriced = f"nobody knows what the model {model!r} costs; PERDURE_PRICES can say it"
        if asked is not None and asked.usd is not None:
            raise Invalid([{"pointer": "/budget/usd", "detail": f"{unpriced}, or give the budget in tokens"}])
        budgets = [most.user_day, most.tenant_month, *(one.budget for one in agent.family)]
        if any(budget.micro_usd is not None for budget in budgets):
            raise Invalid([{"pointer": "/agent", "detail": f"{unpriced}, and there is a budget in US dollars for it"}])
    return agent


def first_run(task: Task) -> Run:
    """The orchestration's input for a new task."""
    limits = task.agent.limits
    return Run(
        task.tenant,
        task.id,
        task.deadline.isoformat(),
        limits.max_steps,
        thread=task.thread_id,
        outage_seconds=limits.outage_seconds,
    )


async def own_task(app: Services, who: Principal, task_id: str) -> Task:
    """Read a task of the caller's. Raises NotFound, in the same words whether it is missing or somebody else's."""
    return await task_of(app, who.tenant, who.user, task_id)


async def task_of(app: Services, tenant: str, user: str | None, task_id: str) -> Task:
    """Read a task of a user's, or of anybody's in the tenant. Raises NotFound."""
    task = await app.tasks.get(tenant, task_id) if _TASK_ID.fullmatch(task_id) else None
    if task is None or user not in (None, task.user):
        raise NotFound(f"There is no task {task_id[:64]!r}; task ids come from POST /api/agent/task.")
    return task


async def wait_for_end(app: Services, task: Task, seconds: float, left: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a task has ended, at most some seconds, and no longer than the caller does."""
    deadline, pause = time.monotonic() + seconds, FIRST_LOOK_SECONDS
    while (remaining := deadline - time.monotonic()) > 0 and not await left():
        await asyncio.sleep(min(pause, remaining))
        found = await app.tasks.get(task.tenant, task.id)
        if found is None or found.reason is not None:
            return
        pause = min(pause * 1.5, LONGEST_LOOK_SECONDS)


async def settle(app: Services, task: Task, orchestration: str | None) -> Task:
    """End a task whose orchestration ended without saying so: terminated from outside, failed, or gone.

    Args:
        orchestration: Runtime status of the task's orchestration, by its durable name; None when there is none.
    """
    match orchestration:
        case "TERMINATED":
            reason, detail = Reason.TERMINATED, "An operator terminated the orchestration."
        case "FAILED":
            reason, detail = Reason.INTERNAL_ERROR, "The orchestration failed; the log says why."
        case None if datetime.now(UTC) - task.created_at > timedelta(seconds=START_SECONDS) and not await _is_awaited(
            app, task
        ):
            reason, detail = Reason.LOST, "The orchestration is gone from the task hub."
        case _:
            return task
    # If it was erased meanwhile, whoever asks for more of it than this is told.
    with suppress(DocumentMissing):
        return await end(app, task, reason, detail)
    return task


async def end(app: Services, task: Task, reason: Reason, detail: str) -> Task:
    """End a task from outside its orchestration. Returns it as it stands: the first reason counts.

    Raises:
        DocumentMissing: It was erased.
    """
    ended = await _end(app, task, reason, detail)
    for asked in await open_below(app, task):
        await _end(app, asked, ended.reason or reason, "The task that asked it has ended.")
    if task.origin is None:
        await _leave_thread(app, task)
        await app.active.leave(task.tenant, task.user, task.id)
    return ended


async def _end(app: Services, task: Task, reason: Reason, detail: str) -> Task:
    """End one task, and tell of it if nobody has."""
    with about(Reference(task.tenant, task.id)), spans.part_of(task):
        ending = await app.tasks.end(task.tenant, task.id, reason, None, detail)
    await app.approvals.withdraw(Reference(task.tenant, task.id))
    if ending.was_ours:
        # The task has ended, and whoever asked for it need not hear that nobody is told.
        with suppress(DocumentError):
            await tell(app, replace(await app.tasks.record(task.tenant, task.id), task=ending.task))
    return ending.task


async def open_below(app: Services, task: Task) -> list[Task]:
    """Read the tasks that agents started for a task, directly or through others, and that have not answered."""
    if not task.agent.agents:
        return []
    below: list[Task] = []
    for id in (await app.tasks.record(task.tenant, task.id)).open_tasks:
        if (found := await app.tasks.get(task.tenant, id)) is not None:
            below += [found, *await open_below(app, found)]
    return below


async def _is_awaited(app: Services, task: Task) -> bool:
    """Whether a task that an agent asked for is still to be started, or was, as far as the asking one knows."""
    if task.origin is None:
        return False
    asking = await app.tasks.get(task.tenant, task.origin.task)
    return asking is not None and asking.reason is None


async def _count(app: Services, task: Task) -> None:
    try:
        await app.active.enter(task.tenant, task.user, task.id, task.over_by)
    except TooManyTasks as full:
        policy = f"{full.whose}-tasks"
        headers = {
            "Retry-After": str(AGAIN_SECONDS),
            "RateLimit-Policy": f'"{policy}";q={full.limit}',
            "RateLimit": f'"{policy}";r=0;t={AGAIN_SECONDS}',
        }
        own = {"user": "You have", "tenant": "Your tenant has"}[full.whose]
        raise TooManyRequests(
            f"{own} {full.limit} tasks running, which is the limit. Try again when one has ended.", headers=headers
        ) from full


async def _leave_thread(app: Services, task: Task) -> None:
    if task.thread_id is not None:
        now = datetime.now(UTC)
        with suppress(DocumentMissing):
            await app.threads.change(task.tenant, task.thread_id, lambda thread: leave(thread, task.id, now))
