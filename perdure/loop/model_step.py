"""One model step: read the conversation, ask the model, record its reply and the calls it asks for."""

import json
import logging
import zlib
from datetime import UTC, datetime

from perdure.bootstrap import Services
from perdure.documents.port import DocumentTooLarge
from perdure.domain.budget import Account, BudgetBusy, BudgetExceeded, Spent, room
from perdure.domain.conversation import conversation
from perdure.domain.messages import ModelReply, Usage
from perdure.domain.next_step import StepOutcome
from perdure.domain.references import StepRef
from perdure.domain.task import CallState, Step, TaskRecord
from perdure.domain.thread import LeaseLost, hold
from perdure.domain.tool_use import tool_use
from perdure.loop.approvals import approvals_for
from perdure.loop.deltas import Deltas
from perdure.loop.paid_reply import call_of, paid_reply
from perdure.loop.tool_call import prepare
from perdure.models.port import ModelLimited, ModelRejected, ModelRequest, ModelUnavailable
from perdure.redaction import content_log
from perdure.telemetry import metrics, spans

logger = logging.getLogger(__name__)

UNAVAILABLE = "The model %s is unavailable to task %s"
"""Logged when a model is down or limits us. infra/alerts.json counts these lines."""

DETAIL = 300
"""Most characters of a provider's message that enter durable history."""

SPREAD = 10.0
"""Seconds over which tasks come back that wait for the same thing."""

BUSY_SECONDS = 2.0
"""After how many seconds a budget is looked at again that others have reserved."""

MAX_REPLY_BYTES = 1024 * 1024
"""Largest reply that is taken, with all arguments, in bytes as JSON: it must fit a document beside the query."""


async def take_step(app: Services, ref: StepRef) -> StepOutcome:
    """Take a task's next step, or find that an earlier attempt took it."""
    if ref.thread is not None:
        now = datetime.now(UTC)
        try:
            await app.threads.change(ref.tenant, ref.thread, lambda thread: hold(thread, ref.task, now))
        except LeaseLost:
            return StepOutcome("lease_lost")
    record = await app.tasks.record(ref.tenant, ref.task)
    agent = record.task.agent
    tools = {name: tool for name in agent.tools if (tool := app.tools.get(name))}
    # As the task began with them, whatever a later deployment changed or dropped: `prepare` knows what there is now.
    offered = record.tools or [tool.spec for tool in tools.values()]
    request = ModelRequest(agent.model, conversation(record), offered, agent.limits.max_output_tokens)
    step = record.step(ref.step)
    if step is not None:
        # The attempt that recorded it may have come no further.
        recorded = call_of(record.task, ref.step, request, step.started_at)
        await app.usage.commit(recorded, step.usage, tool_use(record.calls, ref.step - 1))
    if record.task.reason is not None:
        return StepOutcome("ended")
    if step is None:
        with spans.part_of(record.task, ref.step):
            made = await _ask(app, ref, record, request)
        if isinstance(made, StepOutcome):
            return made
        step = made
    if not step.calls:
        return StepOutcome("answer" if step.text.strip() else "empty")
    calls = prepare(ref, step, tools, agent, offered)
    await app.tasks.add_calls(ref, calls)
    asked = approvals_for(record.task, calls)
    await app.approvals.ask(ref, asked)
    runnable = tuple((call.index, call.tool) for call in calls if call.state is CallState.PREPARED)
    return StepOutcome("calls", runnable, awaiting=len(asked))


async def _ask(app: Services, ref: StepRef, record: TaskRecord, request: ModelRequest) -> Step | StepOutcome:
    """Ask the model, record what it says and pay for it; or say why there is no step."""
    content_log.info("Task %s, step %s asks: %s", ref.task, ref.step, request.messages)
    started, deltas = datetime.now(UTC), Deltas(app.tasks if app.settings.stream_text else None, ref)
    seen = record.steps[-1].usage if record.steps else Usage()
    call = call_of(record.task, ref.step, request, started, seen)
    try:
        own = Account("The task's budget", record.task.agent.budget)
        call = call.bounded(room(own, record.spent, Spent(), call))
        async with deltas:
            reply = await paid_reply(app, call, request, deltas.add if app.settings.stream_text else None)
    except BudgetExceeded as error:
        metrics.budget_refused(ref.tenant, record.task.agent.name)
        return StepOutcome("budget_exceeded", detail=str(error)[:DETAIL])
    except BudgetBusy:
        return StepOutcome("limited", retry_after=BUSY_SECONDS + _spread(ref))
    except ModelLimited as error:
        logger.warning(UNAVAILABLE, request.model, ref.task)
        return StepOutcome("limited", retry_after=error.retry_after + _spread(ref))
    except ModelUnavailable as error:
        logger.warning(UNAVAILABLE, request.model, ref.task)
        return StepOutcome("unavailable", retry_after=error.retry_after, detail=str(error)[:DETAIL])
    except ModelRejected as error:
        return StepOutcome("rejected", detail=str(error)[:DETAIL])
    content_log.info("Task %s, step %s is answered: %s", ref.task, ref.step, reply)
    try:
        _check_size(reply)
        step = Step(ref.step, reply.text, reply.tool_calls, reply.usage, reply.model, started, datetime.now(UTC))
        step = await app.tasks.add_step(ref, step)
    except DocumentTooLarge as error:
        await app.usage.commit(call, reply.usage)
        return StepOutcome("rejected", detail=str(error)[:DETAIL])
    # What was recorded counts, though another attempt at the same time may have recorded it.
    await app.usage.commit(call, step.usage, tool_use(record.calls, ref.step - 1))
    await deltas.clear()
    return step


def _spread(ref: StepRef) -> float:
    """Seconds by which a task comes later than others that wait for the same moment; not always the same ones first."""
    turn = f"{ref.task} {datetime.now(UTC):%H:%M}"
    return zlib.crc32(turn.encode()) % 1000 / 1000 * SPREAD


def _check_size(reply: ModelReply) -> None:
    texts = [reply.text, *(part for call in reply.tool_calls for part in (call.id, call.name, call.arguments))]
    if (size := len(json.dumps(texts, ensure_ascii=False).encode())) > MAX_REPLY_BYTES:
        raise DocumentTooLarge(f"The model's reply has {size:,} bytes; {MAX_REPLY_BYTES:,} are taken.")
