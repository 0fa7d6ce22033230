"""One model step: read the conversation, ask the model, record its reply and the calls it asks for."""

from dataclasses import replace
from datetime import UTC, datetime

from perdure.bootstrap import Services
from perdure.domain.conversation import conversation
from perdure.domain.next_step import StepOutcome
from perdure.domain.output import is_empty, judge
from perdure.domain.references import StepRef
from perdure.domain.task import SETTLED, CallState, LedgerEntry, Step
from perdure.domain.thread import LeaseLost, hold
from perdure.domain.tool_use import tool_use
from perdure.loop.answering import ask, still_down
from perdure.loop.approvals import approvals_for
from perdure.loop.asked import add_asks, prepare_asks
from perdure.loop.paid_reply import call_of
from perdure.loop.tool_call import prepare
from perdure.models.port import ModelRequest
from perdure.telemetry import spans
from perdure.tools.asking import asking


async def take_step(app: Services, ref: StepRef) -> StepOutcome:
    """Take a task's next step, or find that an earlier attempt took it."""
    if ref.thread is not None:
        now = datetime.now(UTC)
        try:
            await app.threads.change(ref.tenant, ref.thread, lambda thread: hold(thread, ref.writer, now))
        except LeaseLost:
            return StepOutcome("lease_lost")
    if ref.waiting and (down := await still_down(app, ref)):
        return down
    record = await app.tasks.record(ref.tenant, ref.task)
    agent = record.task.agent
    tools = {name: tool for name in agent.tools if (tool := app.tools.get(name))}
    askable = [asking(one) for one in agent.agents]
    tools |= {tool.name: tool for tool in askable}
    # As the task began with them, whatever a later deployment changed or dropped: `prepare` knows what there is now.
    own = record.tools or [tool.spec for tool in tools.values() if tool not in askable]
    offered = [*own, *(tool.spec for tool in askable)]
    request = ModelRequest(agent.model, conversation(record), offered, agent.limits.max_output_tokens)
    step = record.step(ref.step)
    if step is not None:
        # The attempt that recorded it may have come no further.
        asked = replace(request, model=step.asked or agent.model)
        recorded = call_of(record.task, ref.step, asked, step.started_at)
        await app.usage.commit(recorded, step.usage, tool_use(record.calls, ref.step - 1))
    if record.task.reason is not None:
        return StepOutcome("ended")
    if step is None:
        with spans.part_of(record.task, ref.step):
            made = await ask(app, ref, record, request)
        if isinstance(made, StepOutcome):
            return made
        step = made
    verdict = judge(record, step, tools)
    calls = prepare(ref, step, tools, agent, offered)
    if verdict.refusal:
        calls = [_refused(call, step, verdict.refusal) for call in calls]
    calls, asks = prepare_asks(ref, record.with_step(step), calls)
    if calls:
        await app.tasks.add_calls(ref, calls)
    if verdict.ends:
        return StepOutcome(verdict.ends)
    if is_empty(step):
        return StepOutcome("empty", elsewhere=record.steps_elsewhere)
    if not calls:
        return StepOutcome("answer")
    asked = approvals_for(record.task, calls)
    await app.approvals.ask(ref, asked)
    ready = [call for call in calls if call.state is CallState.PREPARED and call.same_as is None]
    run = [call for call in ready if call.asked is None]
    longest = max((tools[call.tool].timeout for call in run), default=0.0)
    return StepOutcome(
        "calls",
        tuple((call.index, call.tool) for call in run),
        awaiting=len(asked),
        timeout=longest,
        asks=await add_asks(app, asks),
        elsewhere=record.steps_elsewhere,
    )


def _refused(call: LedgerEntry, step: Step, why: str) -> LedgerEntry:
    if call.state in SETTLED:
        return call
    return replace(call, state=CallState.FAILED, content=why, started_at=step.ended_at, ended_at=step.ended_at)
