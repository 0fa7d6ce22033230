"""One model step: read the conversation, ask the model, record its reply and the calls it asks for."""

import json
import logging
from datetime import UTC, datetime

from perdure.bootstrap import Services
from perdure.documents.port import DocumentTooLarge
from perdure.domain.conversation import conversation
from perdure.domain.messages import ModelReply
from perdure.domain.next_step import StepOutcome
from perdure.domain.references import StepRef
from perdure.domain.task import CallState, Step
from perdure.domain.thread import LeaseLost, hold
from perdure.loop.approvals import approvals_for
from perdure.loop.deltas import Deltas
from perdure.loop.tool_call import prepare
from perdure.models.port import ModelRejected, ModelRequest, ModelUnavailable
from perdure.redaction import content_log

logger = logging.getLogger(__name__)

DETAIL = 300
"""Most characters of a provider's message that enter durable history."""

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
    if record.task.reason is not None:
        return StepOutcome("ended")
    agent = record.task.agent
    # A tool that a later deployment dropped is simply not offered any more.
    tools = {name: tool for name in agent.tools if (tool := app.tools.get(name))}
    step = record.step(ref.step)
    if step is None:
        request = ModelRequest(agent.model, conversation(record), [tool.spec for tool in tools.values()])
        content_log.info("Task %s, step %s asks: %s", ref.task, ref.step, request.messages)
        started, deltas = datetime.now(UTC), Deltas(app.tasks if app.settings.stream_text else None, ref)
        try:
            async with deltas:
                reply = _bounded(await app.model.reply(request, deltas.add if app.settings.stream_text else None))
            content_log.info("Task %s, step %s is answered: %s", ref.task, ref.step, reply)
            step = Step(ref.step, reply.text, reply.tool_calls, reply.usage, reply.model, started, datetime.now(UTC))
            step = await app.tasks.add_step(ref, step)
            await deltas.clear()
        except ModelUnavailable as error:
            # infra/alerts.json counts these lines.
            logger.warning("The model %s is unavailable to task %s", agent.model, ref.task)
            return StepOutcome("unavailable", retry_after=error.retry_after, detail=str(error)[:DETAIL])
        except ModelRejected as error:
            return StepOutcome("rejected", detail=str(error)[:DETAIL])
        except DocumentTooLarge:
            return StepOutcome("rejected", detail="The model's reply is too large to be stored.")
    if not step.calls:
        return StepOutcome("answer" if step.text.strip() else "empty")
    calls = prepare(ref, step, tools, agent)
    await app.tasks.add_calls(ref, calls)
    asked = approvals_for(record.task, calls)
    await app.approvals.ask(ref, asked)
    runnable = tuple((call.index, call.tool) for call in calls if call.state is CallState.PREPARED)
    return StepOutcome("calls", runnable, awaiting=len(asked))


def _bounded(reply: ModelReply) -> ModelReply:
    texts = [reply.text, *(part for call in reply.tool_calls for part in (call.id, call.name, call.arguments))]
    if (size := len(json.dumps(texts, ensure_ascii=False).encode())) > MAX_REPLY_BYTES:
        raise ModelRejected(f"The model's reply has {size:,} bytes; {MAX_REPLY_BYTES:,} are taken.")
    return reply
