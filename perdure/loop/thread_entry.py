"""A task's entry into its thread: when it is its turn, fix what the model will see of the conversation so far."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

from perdure.bootstrap import Services
from perdure.documents.port import DocumentMissing
from perdure.domain.budget import BudgetBusy, BudgetExceeded
from perdure.domain.context import first_kept, remembered, summary_request
from perdure.domain.messages import Message
from perdure.domain.references import StepRef
from perdure.domain.task import Task
from perdure.domain.thread import Summary, Thread, stay
from perdure.loop.paid_reply import call_of, paid_reply
from perdure.models.port import ModelError, ModelRequest
from perdure.stores.breakers import BreakerOpen
from perdure.stores.threads import ThreadMessage
from perdure.telemetry import spans

SUMMARY_TOKENS = 8000
"""Tokens of messages that one summary is made from."""

FIRST = 1
"""The step that a summary is made for."""

MAX_SUMMARY = 4000
"""Longest summary in characters. It is asked for in 200 words, and stands in every later task's context."""

logger = logging.getLogger(__name__)


async def join(app: Services, ref: StepRef) -> bool:
    """Become the thread's writer; False when it is not the task's turn yet."""
    now = datetime.now(UTC)
    task = await app.tasks.get(ref.tenant, ref.task)
    if task is None or task.thread_id is None:
        raise DocumentMissing(f"no task {ref.task} with a thread")
    if task.reason is not None:
        # It left the thread when it ended, and its next step will find that it has.
        return True
    thread = await app.threads.change(ref.tenant, task.thread_id, lambda thread: stay(thread, ref.task, now))
    if thread.writer(now) != ref.task:
        return False
    await app.tasks.set_context(ref.tenant, ref.task, await _earlier(app, task, thread))
    return True


async def _earlier(app: Services, task: Task, thread: Thread) -> list[Message]:
    """The newest messages within the agent's budget, and the summary of those before them."""
    budget, summary = task.agent.limits.context_tokens, thread.summary
    stored = await app.threads.messages(thread, summary.upto, thread.length)
    messages = [message.message for message in stored]
    if cut := first_kept(messages, budget):
        # Cut deeper than necessary, so that the next tasks need no new summary.
        cut = max(cut, first_kept(messages, budget // 2))
        summary = await _fold(app, task, thread, stored[:cut])
        messages = messages[cut:]
    return [remembered(summary.text), *messages] if summary.text else messages


async def _fold(app: Services, task: Task, thread: Thread, cut: list[ThreadMessage]) -> Summary:
    """Have the model write messages into the thread's summary; without a model, the old summary has to do."""
    messages = [one.message for one in cut]
    told, longest = summary_request(thread.summary.text, messages, SUMMARY_TOKENS), task.agent.limits.max_output_tokens
    request = ModelRequest(task.agent.model, told, max_output_tokens=longest)
    call = call_of(task, 0, request, datetime.now(UTC))
    try:
        with spans.part_of(task, FIRST):
            reply = await paid_reply(app, call, request)
        await app.usage.commit(call, reply.usage)
        text = reply.text.strip()[:MAX_SUMMARY]
    except (ModelError, BreakerOpen, BudgetExceeded, BudgetBusy) as error:
        text = ""
        logger.warning("The model wrote no summary of thread %s: %s", thread.id, error)
    if not text:
        # Nothing is forgotten for good: the next task tries again with the same messages.
        return thread.summary
    summary = Summary(text, cut[-1].number + 1)
    await app.threads.change(thread.tenant, thread.id, lambda thread: replace(thread, summary=summary))
    return summary
