"""The effect ledger: every tool call is written down before it runs and after, so that none happens twice unnoticed.

1. The model step records each call as `prepared`, with its key.
2. A tool that must not run twice is marked `dispatched` before it starts. Who marks it runs it: of two attempts at the
   same time, the one that finds the entry changed under its hands does not. An attempt that finds a call `dispatched`
   by one that must be gone cannot know whether the effect happened; it says `unknown`, asks a person what became of the
   call, and leaves the tool alone. So does one whose tool times out, or says that it is unavailable.
3. The outcome is written as `committed` or `failed`. An attempt that finds an outcome has nothing to do, and no outcome
   is ever overwritten: the model may have been told of it. What is `unknown` is a person's to decide.

A tool that failed several times in a row, being unavailable or too slow, is left alone for a while: see
`perdure.domain.breaker`. Its calls fail at once and say so, for the model to go on without it. Each tenant has breakers
of its own: what one does with a tool, such as asking it for pages that never end, takes it from no other.

A call that says the same as an earlier one of its step is that call: it is not run, and has the outcome of the other.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from perdure.bootstrap import Services
from perdure.documents.port import DocumentChanged, DocumentTooLarge
from perdure.domain.arguments import canonical
from perdure.domain.messages import ToolCall, ToolSpec
from perdure.domain.references import CallRef, StepRef
from perdure.domain.task import SETTLED, Agent, CallState, LedgerEntry, Step
from perdure.loop import doubts
from perdure.loop.approvals import needs_approval, refusal
from perdure.redaction import content_log
from perdure.stores.breakers import BreakerOpen, Entry
from perdure.stores.facts import UserFacts
from perdure.stores.memories import UserDocuments
from perdure.stores.outbox import UserOutbox
from perdure.stores.tasks import FoundCall
from perdure.telemetry import metrics, names, spans
from perdure.tools.arguments import read_arguments
from perdure.tools.runner import run_tool
from perdure.tools.tool import Tool, ToolContext, ToolError, ToolUnavailable

ENDED = "The task had ended before this call was run, so it was not run."
NO_TOOL = "There is no tool {name}. The tools are: {tools}."
GONE = "The tool {name} is not available any more: the app was changed since this task began. There are still: {tools}."
CHANGED = (
    "{name} was changed since this task began, and this call does not fit it any more, so it was not run. {problem}"
)
TOO_MANY = "Not run: at most {limit} calls are run in one turn. Ask for fewer."
DOWN = (
    "{tool} has failed several times in a row and is unavailable for now, so this call was not run. "
    "Go on without it, and say so where that matters."
)
TOO_LARGE = "The tool ran, but its result is too large to be stored. Narrow the request."

logger = logging.getLogger(__name__)


class CallInterrupted(Exception):
    """This attempt did not settle the call; another may. Its text enters durable history, so it tells nothing else."""


def prepare(
    ref: StepRef, step: Step, tools: Mapping[str, Tool], agent: Agent, offered: Sequence[ToolSpec] = ()
) -> list[LedgerEntry]:
    """Make the entries of a step's calls. Those that cannot run are settled at once, with the reason.

    Args:
        tools: The agent's tools that this deployment has.
        offered: What the model was told of its tools.
    """
    entries: list[LedgerEntry] = []
    first: dict[tuple[str, str], int] = {}
    specs = {spec.name: spec for spec in offered}
    limit = agent.limits.max_calls
    for index, call in enumerate(step.calls):
        entry = LedgerEntry(ref.step, index, call.name, call.arguments, _key(ref, index, call.name, call.arguments))
        refusal = _refusal(call, tools, specs) if index < limit else TOO_MANY.format(limit=limit)
        if refusal:
            at = step.ended_at
            entry = replace(entry, state=CallState.FAILED, content=refusal, started_at=at, ended_at=at)
        elif tools[call.name].once_per_turn and (same := first.setdefault(_said(call), index)) != index:
            entry = replace(entry, same_as=same, key=entries[same].key)
        elif needs_approval(agent.approval, tools[call.name], call.arguments):
            entry = replace(entry, state=CallState.AWAITING_APPROVAL)
        entries.append(entry)
    return entries


async def carry_out(app: Services, tool: Tool, ref: CallRef) -> CallState:
    """Run one recorded call and write down what came of it.

    Raises:
        CallInterrupted: The tool is unavailable for now, or another attempt is at work; try again.
        DocumentMissing: There is no such call.
    """
    while True:
        try:
            return await _attempt(app, tool, ref)
        except DocumentChanged:
            # Another attempt wrote the entry meanwhile. What it wrote decides what is left to do.
            continue


async def _attempt(app: Services, tool: Tool, ref: CallRef) -> CallState:
    now = datetime.now(UTC)
    found = await app.tasks.call(ref)
    entry = found.entry
    if entry.state in SETTLED:
        return entry.state
    if entry.state is CallState.DISPATCHED:
        if doubts.seconds_at_work(entry, tool.timeout, now):
            raise CallInterrupted(f"{tool.name} was started by an attempt that may still be at work")
        return await doubts.ask(app, ref, found)
    if found.task.reason is not None:
        return await _settle(app, ref, found, CallState.FAILED, ENDED)
    key = _key(ref, ref.index, tool.name, entry.arguments)
    if refused := await refusal(app, tool, ref, found, key):
        return await _settle(app, ref, found, CallState.FAILED, refused)
    found = replace(found, entry=replace(entry, started_at=now))
    with spans.tool_call(found.task, ref, tool.name) as attempt:
        state = await _run(app, tool, ref, found)
        attempt.settled(state)
    return state


async def _run(app: Services, tool: Tool, ref: CallRef, found: FoundCall) -> CallState:
    cached = await app.tool_cache.get(ref.tenant, tool, found.entry.arguments)
    if cached is not None:
        return await _settle(app, ref, found, CallState.COMMITTED, cached)
    try:
        entered = await app.breakers.enter(f"tool:{tool.name}", ref.tenant)
    except BreakerOpen:
        return await _settle(app, ref, found, CallState.FAILED, DOWN.format(tool=tool.name))
    if not tool.idempotent:
        found = await app.tasks.put_call(ref, found, replace(found.entry, state=CallState.DISPATCHED))
    return await _call(app, tool, ref, found, entered)


async def _call(app: Services, tool: Tool, ref: CallRef, found: FoundCall, entered: Entry) -> CallState:
    documents = UserDocuments(app.memories, ref.tenant, found.task.user)
    facts = UserFacts(app.facts, ref.tenant, found.task.user, ref.task)
    outbox = UserOutbox(app.outbox, ref.tenant, found.task.user, ref.task, found.entry.key)
    context = ToolContext(ref.tenant, found.task.user, ref.task, found.entry.key, documents, facts, outbox)
    content_log.info("Task %s calls %s: %s", ref.task, tool.name, found.entry.arguments)
    try:
        outcome = await run_tool(tool, found.entry.arguments, context)
        found = _paid(found, tool, context)
    except ToolUnavailable as error:
        found = _paid(found, tool, context)
        logger.warning("Tool %s is unavailable to task %s", tool.name, ref.task)
        content_log.warning("Tool %s is unavailable to task %s: %s", tool.name, ref.task, error)
        await app.breakers.failed(entered)
        if not tool.idempotent:
            return await doubts.ask(app, ref, found)
        await _settle(app, ref, found, CallState.UNAVAILABLE, f"{tool.name} is unavailable: {error}"[:500])
        raise CallInterrupted(f"{tool.name} is unavailable") from None
    content_log.info("Task %s has of %s: %s", ref.task, tool.name, outcome.content)
    if outcome.timed_out:
        await app.breakers.failed(entered)
        if not tool.idempotent:
            return await doubts.ask(app, ref, found)
    state = CallState.FAILED if outcome.is_error else CallState.COMMITTED
    if state is CallState.COMMITTED:
        await app.tool_cache.put(ref.tenant, tool, found.entry.arguments, outcome.content)
    try:
        state = await _settle(app, ref, found, state, outcome.content)
    except DocumentTooLarge:
        state = await _settle(app, ref, found, CallState.FAILED, TOO_LARGE)
    if not outcome.timed_out:
        await app.breakers.succeeded(entered)
    return state


def _paid(found: FoundCall, tool: Tool, context: ToolContext) -> FoundCall:
    """A call with what this attempt cost, if the tool said so."""
    cost, task = context.meter.micro_usd, found.task
    metrics.spent(cost, {names.TENANT: task.tenant, names.AGENT: task.agent.name, names.TOOL: tool.name})
    return replace(found, entry=replace(found.entry, micro_usd=found.entry.micro_usd + cost))


async def _settle(app: Services, ref: CallRef, found: FoundCall, state: CallState, content: str | None) -> CallState:
    entry = replace(found.entry, state=state, content=content, ended_at=datetime.now(UTC))
    await app.tasks.put_call(ref, found, entry)
    return state


def _refusal(call: ToolCall, tools: Mapping[str, Tool], offered: Mapping[str, ToolSpec]) -> str | None:
    tool, spec = tools.get(call.name), offered.get(call.name)
    if tool is None:
        there_are = ", ".join(sorted(tools)) or "none"
        return (GONE if spec else NO_TOOL).format(name=repr(call.name[:64]), tools=there_are)
    if spec and spec.parameters != tool.parameters:
        try:
            read_arguments(tool, call.arguments)
        except ToolError as error:
            return CHANGED.format(name=call.name, problem=error)
    return None


def _said(call: ToolCall) -> tuple[str, str]:
    return call.name, canonical(call.arguments)


def _key(ref: StepRef | CallRef, index: int, tool: str, arguments: str) -> str:
    parts = [ref.tenant, ref.task, ref.step, index, tool, canonical(arguments)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
