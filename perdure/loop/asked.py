"""Other agents that are asked: each call of `ask_<name>` is answered by a task of its own, run beside the turn's tools.

1. The model step records the calls, and for each a task: its id follows from the call, its agent from the asking task,
   where the definitions of all agents that may come to be asked are frozen.
2. What that task may use is a share of what the asking one has left, which keeps as large a share for itself.
3. The orchestrator runs it as a sub-orchestration. When it ends, it writes its answer, or why there is none, into the
   ledger of the one that asked, with what it used; that counts there as its own.
4. A task that ends takes along those that it asked.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from perdure.bootstrap import Services
from perdure.documents.port import DocumentChanged, DocumentMissing
from perdure.domain.messages import ToolSpec
from perdure.domain.references import Ask, CallRef, StepRef
from perdure.domain.task import Agent, CallState, LedgerEntry, Origin, Reason, Task, TaskRecord
from perdure.tools.arguments import read_arguments
from perdure.tools.asking import asking
from perdure.tools.tool import MAX_RESULT_BYTES, ToolError

NO_STEPS = "Not asked: none of the task's steps are left for it."


def prepare_asks(
    ref: StepRef, record: TaskRecord, calls: Sequence[LedgerEntry]
) -> tuple[list[LedgerEntry], list[Task]]:
    """Make the tasks that answer a step's calls. Calls that cannot be answered are settled at once.

    Args:
        record: The task with the step.
    """
    agents = {asking(agent).name: agent for agent in record.task.agent.agents}
    # One step is kept for the asking task, to make something of the answers.
    left = record.task.agent.limits.max_steps - record.bill.steps - 1
    entries: list[LedgerEntry] = []
    asked: list[tuple[LedgerEntry, Agent, dict[str, Any]]] = []
    for call in calls:
        entry, agent = call, agents.get(call.tool)
        if agent and call.state is CallState.PREPARED and call.same_as is None:
            try:
                arguments = read_arguments(asking(agent), call.arguments)
            except ToolError as error:
                entry = _failed(call, str(error))
            else:
                entry = _failed(call, NO_STEPS) if len(asked) >= left else replace(call, asked=_id(ref, call.index))
                if entry.asked:
                    asked.append((entry, agent, arguments))
        entries.append(entry)
    return entries, [_task(record, entry, agent, arguments, len(asked), left) for entry, agent, arguments in asked]


async def add_asks(app: Services, tasks: Sequence[Task]) -> tuple[Ask, ...]:
    """Store the tasks that answer a step's calls. What an earlier attempt stored stays as it is."""
    stored = [await app.tasks.add(task, _specs(app, task.agent)) for task in tasks]
    return tuple(_ask(task.origin, task) for task in stored if task.origin)


def _specs(app: Services, agent: Agent) -> list[ToolSpec]:
    return [tool.spec for name in agent.tools if (tool := app.tools.get(name))]


async def answer(app: Services, record: TaskRecord) -> None:
    """Tell the task that asked what a task that has ended came to. Done again, it changes nothing."""
    task, origin = record.task, record.task.origin
    if origin is None:
        return
    ref = CallRef(task.tenant, origin.task, origin.step, origin.index)
    # Who changed it meanwhile answered it, and so did whoever erased it.
    with suppress(DocumentChanged, DocumentMissing):
        found = await app.tasks.call(ref)
        if found.entry.bill is None:
            state = CallState.COMMITTED if task.reason is Reason.ANSWERED else CallState.FAILED
            entry = replace(found.entry, state=state, content=_content(task), bill=record.bill)
            await app.tasks.put_call(ref, found, replace(entry, started_at=task.created_at, ended_at=task.ended_at))


def _content(task: Task) -> str:
    if task.reason is Reason.ANSWERED:
        return _cut(task.result or "")
    said = f"{task.agent.name} ended without an answer ({task.reason}). {task.detail or ''}".strip()
    return _cut(f"{said}\nWhat it had written by then:\n{task.result}" if task.result else said)


def _cut(text: str) -> str:
    whole = text.encode()
    if len(whole) <= MAX_RESULT_BYTES:
        return text
    kept = whole[:MAX_RESULT_BYTES].decode(errors="ignore")
    return f"{kept}\n(Cut here: the answer has {len(whole):,} bytes.)"


def _task(
    record: TaskRecord, entry: LedgerEntry, agent: Agent, arguments: dict[str, Any], among: int, left: int
) -> Task:
    """The task that answers a call.

    Args:
        among: How many are asked in this turn.
        left: Steps that these may take together.
    """
    task = record.task
    assert entry.asked is not None
    limits = replace(agent.limits, max_steps=left // among)
    return Task(
        id=entry.asked,
        tenant=task.tenant,
        user=task.user,
        query=arguments["query"],
        context=None,
        agent=agent.within(task.agent.budget.share(record.spent, among + 1), limits),
        metadata={},
        created_at=datetime.now(UTC),
        thread=task.thread,
        trace=task.trace,
        origin=Origin(task.id, entry.step, entry.index, task.root, task.begun_at),
    )


def _ask(origin: Origin, task: Task) -> Ask:
    limits = task.agent.limits
    return Ask(origin.index, task.id, limits.max_steps, limits.max_seconds, limits.outage_seconds)


def _failed(call: LedgerEntry, why: str) -> LedgerEntry:
    now = datetime.now(UTC)
    return replace(call, state=CallState.FAILED, content=why, started_at=now, ended_at=now)


def _id(ref: StepRef, index: int) -> str:
    """A task's id, which sorts with that of the task that asks."""
    name = f"{ref.tenant}/{ref.task}/{ref.step}/{index}"
    return ref.task[:12] + hashlib.sha256(name.encode()).hexdigest()[:20]
