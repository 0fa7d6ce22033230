"""Who answers a step: the agent's model or, where that is down or cannot, the next of its fallbacks.

1. A model whose breaker is open is passed over, without anything being reserved or asked.
2. One that fails is waited for, and no other is asked, until its breaker opens.
3. One that cannot answer this request, whoever asks, is passed over at once.
4. When none answered, the step says which may be asked first, and when. The orchestrator waits, on a durable timer.
"""

import json
import logging
import zlib
from dataclasses import replace
from datetime import UTC, datetime

from perdure.bootstrap import Services
from perdure.documents.port import DocumentTooLarge
from perdure.domain.budget import Account, BudgetBusy, BudgetExceeded, Spent, room
from perdure.domain.messages import ModelReply, Usage
from perdure.domain.next_step import StepOutcome
from perdure.domain.references import StepRef
from perdure.domain.task import Step, TaskRecord
from perdure.domain.tool_use import tool_use
from perdure.loop.deltas import Deltas
from perdure.loop.paid_reply import breaker_of, call_of, paid_reply
from perdure.models.port import (
    ModelError,
    ModelInterrupted,
    ModelLimited,
    ModelRejected,
    ModelRequest,
    ModelUnavailable,
    ModelUnfit,
)
from perdure.redaction import content_log
from perdure.stores.breakers import BreakerOpen
from perdure.telemetry import metrics

logger = logging.getLogger(__name__)

UNAVAILABLE = "The model %s is unavailable to task %s"
"""Logged when a model is down or limits us. infra/alerts.json counts these lines."""

UNFIT = "The model %s cannot answer task %s"
"""Logged when another model may, so that nobody pays for a stand-in for good without knowing."""

DETAIL = 300
"""Most characters of a provider's message that enter durable history."""

type Failed = tuple[str, BreakerOpen | ModelError]
"""A model, and why it did not answer."""

SPREAD = 10.0
"""Seconds over which tasks come back that wait for the same thing."""

BUSY_SECONDS = 2.0
"""After how many seconds a budget is looked at again that others have reserved."""

MAX_REPLY_BYTES = 1024 * 1024
"""Largest reply that is taken, with all arguments, in bytes as JSON: it must fit a document beside the query."""


async def ask(app: Services, ref: StepRef, record: TaskRecord, request: ModelRequest) -> Step | StepOutcome:
    """Ask the agent's models, the next one where one is down or cannot answer; or say why there is no step."""
    content_log.info("Task %s, step %s asks: %s", ref.task, ref.step, request.messages)
    failed: list[Failed] = []
    for offer in record.task.agent.offers:
        try:
            return await _answer(app, ref, record, replace(request, model=offer.model))
        except BreakerOpen as error:
            failed.append((offer.model, error))
        except ModelUnfit as error:
            logger.warning(UNFIT, offer.model, ref.task)
            failed.append((offer.model, error))
        except ModelUnavailable as error:
            logger.warning(UNAVAILABLE, offer.model, ref.task)
            failed.append((offer.model, error))
            # A model that fails now and then is waited for; others are asked once it is known to be down.
            if not (await app.breakers.look(breaker_of(offer.model))).is_open:
                break
        except BudgetExceeded as error:
            metrics.budget_refused(ref.tenant, record.task.agent.name)
            return StepOutcome("budget_exceeded", detail=str(error)[:DETAIL])
        except BudgetBusy:
            return StepOutcome("limited", retry_after=BUSY_SECONDS + _spread(ref))
        except ModelLimited as error:
            logger.warning(UNAVAILABLE, offer.model, ref.task)
            return StepOutcome("limited", retry_after=error.retry_after + _spread(ref))
        except (ModelRejected, DocumentTooLarge) as error:
            return StepOutcome("rejected", detail=str(error)[:DETAIL])
    return _reported(ref, failed)


async def _answer(app: Services, ref: StepRef, record: TaskRecord, request: ModelRequest) -> Step:
    """Ask one model, record what it says and pay for it.

    Raises:
        BudgetExceeded, BudgetBusy, BreakerOpen, ModelError: See `paid_reply`.
        DocumentTooLarge: The reply cannot be stored.
    """
    started, deltas = datetime.now(UTC), Deltas(app.tasks if app.settings.stream_text else None, ref)
    seen = record.steps[-1].usage if record.steps else Usage()
    call = call_of(record.task, ref.step, request, started, seen)
    own = Account("The task's budget", record.task.agent.budget)
    call = call.bounded(room(own, record.spent, Spent(), call))
    async with deltas:
        reply = await paid_reply(app, call, request, deltas.add if app.settings.stream_text else None)
    content_log.info("Task %s, step %s is answered: %s", ref.task, ref.step, reply)
    try:
        _check_size(reply)
        ended = datetime.now(UTC)
        step = Step(
            ref.step, reply.text, reply.tool_calls, reply.usage, reply.model, started, ended, asked=request.model
        )
        step = await app.tasks.add_step(ref, step)
    except DocumentTooLarge:
        await app.usage.commit(call, reply.usage)
        raise
    # What was recorded counts, though another attempt at the same time may have recorded it.
    recorded = call_of(record.task, ref.step, replace(request, model=step.asked or request.model), started)
    await app.usage.commit(recorded, step.usage, tool_use(record.calls, ref.step - 1))
    await deltas.clear()
    return step


def _reported(ref: StepRef, failed: list[Failed]) -> StepOutcome:
    """What a step came to that no model answered: that of the one that may be asked first."""
    waits: list[StepOutcome] = []
    for model, error in failed:
        match error:
            case BreakerOpen():
                detail = f"The model {model} failed repeatedly and is only asked now and then whether it is back."
                waits.append(StepOutcome("down", retry_after=error.retry_after + _spread(ref), detail=detail))
            case ModelUnavailable():
                kind = "interrupted" if isinstance(error, ModelInterrupted) else "unavailable"
                after = error.retry_after and error.retry_after + min(_spread(ref), error.retry_after)
                waits.append(StepOutcome(kind, retry_after=after, detail=str(error)[:DETAIL]))
            case _:
                pass
    if waits:
        return min(waits, key=lambda outcome: outcome.retry_after or 0.0)
    return StepOutcome("rejected", detail=str(failed[0][1])[:DETAIL])


async def still_down(app: Services, ref: StepRef) -> StepOutcome | None:
    """Look only whether any of a waiting task's models may be asked; None when one may, or there is more to know."""
    task = await app.tasks.get(ref.tenant, ref.task)
    if task is None or task.reason is not None:
        return None
    failed: list[Failed] = []
    for offer in task.agent.offers:
        try:
            await app.breakers.check(breaker_of(offer.model))
        except BreakerOpen as error:
            failed.append((offer.model, error))
        else:
            return None
    return _reported(ref, failed)


def _spread(ref: StepRef) -> float:
    """Seconds by which a task comes later than others that wait for the same moment; not always the same ones first."""
    turn = f"{ref.task} {datetime.now(UTC):%H:%M}"
    return zlib.crc32(turn.encode()) % 1000 / 1000 * SPREAD


def _check_size(reply: ModelReply) -> None:
    texts = [reply.text, *(part for call in reply.tool_calls for part in (call.id, call.name, call.arguments))]
    if (size := len(json.dumps(texts, ensure_ascii=False).encode())) > MAX_REPLY_BYTES:
        raise DocumentTooLarge(f"The model's reply has {size:,} bytes; {MAX_REPLY_BYTES:,} are taken.")
