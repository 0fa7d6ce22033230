"""A reply of the model that is paid for: reserved before it is asked for, and given back when there is none.

And that is only asked for while the model is not known to be down: what comes of it is told to the model's breaker.
"""

from dataclasses import replace
from datetime import datetime

from perdure.bootstrap import Services
from perdure.domain.budget import Call
from perdure.domain.context import tokens
from perdure.domain.messages import Message, ModelReply, Usage
from perdure.domain.task import Task
from perdure.models.guarded import guarded
from perdure.models.port import ModelError, ModelRequest, OnText
from perdure.stores.breakers import BreakerOpen
from perdure.telemetry import spans

NONE = Usage()


def breaker_of(model: str) -> str:
    """The name of a model's breaker."""
    return f"model:{model}"


def call_of(task: Task, step: int, request: ModelRequest, at: datetime, seen: Usage = NONE) -> Call:
    """Say what a request may come to, and who pays for it.

    Args:
        seen: What the provider counted for the step before. All of that is in this request again.
    """
    input = max(request.input_tokens, seen.input_tokens + seen.output_tokens)
    usage, agent = Usage(input, request.max_output_tokens or 0), task.agent
    price = agent.price_of(request.model)
    return Call(task.tenant, task.user, task.id, step, agent.name, request.model, price, usage, at)


async def paid_reply(app: Services, call: Call, request: ModelRequest, on_text: OnText | None = None) -> ModelReply:
    """Ask the model. Whoever has the reply commits the call.

    Raises:
        BreakerOpen: The model is down, and was not asked.
        BudgetExceeded, BudgetBusy: There is no room for it; see `UsageStore.reserve`.
        ModelError: As the model does. Neither then nor before is anything reserved any more.
    """
    # Before anything is reserved, for nothing but a look should come of this while the model is down.
    await app.breakers.check(breaker_of(request.model))
    longest = await app.usage.reserve(call)
    bounded = replace(request, max_output_tokens=longest)
    try:
        with spans.model_call(call, app.settings.provider, longest) as asked:
            reply = await guarded(app.breakers, breaker_of(request.model), lambda: app.model.reply(bounded, on_text))
            if reply.usage == NONE:
                # Some compatible endpoints do not count, and a budget would never end.
                written = Message("assistant", reply.text, reply.tool_calls)
                reply = replace(reply, usage=Usage(request.input_tokens, tokens(written)))
            asked.answered(reply)
    except (ModelError, BreakerOpen):
        await app.usage.release(call)
        raise
    return reply
