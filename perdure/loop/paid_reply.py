"""A reply of the model that is paid for: reserved before it is asked for, and given back when there is none."""

from dataclasses import replace
from datetime import datetime

from perdure.bootstrap import Services
from perdure.domain.budget import Call
from perdure.domain.context import tokens
from perdure.domain.messages import Message, ModelReply, Usage
from perdure.domain.task import Task
from perdure.models.port import ModelError, ModelRequest, OnText
from perdure.telemetry import spans

NONE = Usage()


def call_of(task: Task, step: int, request: ModelRequest, at: datetime, seen: Usage = NONE) -> Call:
    """Say what a request may come to, and who pays for it.

    Args:
        seen: What the provider counted for the step before. All of that is in this request again.
    """
    input = max(request.input_tokens, seen.input_tokens + seen.output_tokens)
    usage, agent = Usage(input, request.max_output_tokens or 0), task.agent
    return Call(task.tenant, task.user, task.id, step, agent.name, agent.model, agent.price, usage, at)


async def paid_reply(app: Services, call: Call, request: ModelRequest, on_text: OnText | None = None) -> ModelReply:
    """Ask the model. Whoever has the reply commits the call.

    Raises:
        BudgetExceeded, BudgetBusy: There is no room for it; see `UsageStore.reserve`.
        ModelError: As the model does. Then nothing is reserved any more.
    """
    longest = await app.usage.reserve(call)
    try:
        with spans.model_call(call, app.settings.provider, longest) as asked:
            reply = await app.model.reply(replace(request, max_output_tokens=longest), on_text)
            if reply.usage == NONE:
                # Some compatible endpoints do not count, and a budget would never end.
                written = Message("assistant", reply.text, reply.tool_calls)
                reply = replace(reply, usage=Usage(request.input_tokens, tokens(written)))
            asked.answered(reply)
    except ModelError:
        await app.usage.release(call)
        raise
    return reply
