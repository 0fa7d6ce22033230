"""The offline model itself: which turn it is, and what to reply."""

import json
import math
from collections.abc import Sequence

from perdure.domain.context import SUMMARISE
from perdure.domain.messages import Message, ModelReply, ToolCall, Usage
from perdure.models.offline.answer import announce, conclude, decline, excerpt
from perdure.models.offline.plan import Planned, plan
from perdure.models.port import ModelRequest, OnText

MODEL_NAME = "offline-rules"
MAX_CALLS = 32
"""Calls in one reply. Further requests follow in the next turns."""
CHARACTERS_PER_TOKEN = 4
"""The usual rule of thumb for English; it makes budgets work without a tokenizer."""
PIECES = 4
"""Pieces in which text streams."""


class OfflineModel:
    """Answers with real tools on real input, the same way every time, with no endpoint.

    Implements `perdure.models.port.Model`. Usage counts a token per four characters, rounded up. It never fails.
    """

    async def reply(self, request: ModelRequest, on_text: OnText | None = None) -> ModelReply:
        """Plan the calls for the last user message, or answer it once its results are there."""
        asked = max((at for at, message in enumerate(request.messages) if message.role == "user"), default=None)
        query = "" if asked is None else request.messages[asked].content
        turn = request.messages if asked is None else request.messages[asked + 1 :]
        if request.messages and request.messages[0].content == SUMMARISE:
            text, calls = excerpt(query), ()
        else:
            text, calls = _next(plan(_encodable(query), request.tools), turn, request)
        text = _encodable(text)
        if on_text is not None:
            size = max(1, math.ceil(len(text) / PIECES))
            for start in range(0, len(text), size):
                await on_text(text[start : start + size])
        usage = Usage(_tokens(request.messages), _tokens([Message("assistant", text, calls)]))
        return ModelReply(text, calls, usage, MODEL_NAME)

    async def close(self) -> None:
        """There is nothing to release."""


def _next(
    planned: Sequence[Planned], turn: Sequence[Message], request: ModelRequest
) -> tuple[str, tuple[ToolCall, ...]]:
    possible = [one for one in planned if one.callable]
    unmet = [one for one in planned if not one.callable]
    ours = [_call(number, one) for number, one in enumerate(possible)]
    made = [call for message in turn for call in message.tool_calls]
    # Calls that another model made before this one took over are not continued: ours could repeat their effects.
    if made == ours[: len(made)] and len(made) < len(ours):
        batch = slice(len(made), len(made) + MAX_CALLS)
        return announce(possible[batch], unmet), tuple(ours[batch])
    results = {message.tool_call_id: message.content for message in turn if message.role == "tool"}
    if not made and not results:
        return decline(unmet, request.tools), ()
    if made == ours:
        named = zip([one.request for one in possible], made, strict=True)
        return conclude([(name, _result(call, results)) for name, call in named], unmet), ()
    return conclude([(f"{call.name} {call.arguments}", _result(call, results)) for call in made], ()), ()


def _call(number: int, one: Planned) -> ToolCall:
    return ToolCall(f"call_{number}", one.tool or "", _encodable(json.dumps(one.arguments, ensure_ascii=False)))


def _result(call: ToolCall, results: dict[str | None, str]) -> str:
    return results.get(call.id, "Error: there is no result for this call.")


def _tokens(messages: Sequence[Message]) -> int:
    characters = sum(
        len(message.content) + sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
        for message in messages
    )
    return math.ceil(characters / CHARACTERS_PER_TOKEN)


def _encodable(text: str) -> str:
    """Replace half surrogate pairs, which JSON can carry in and no store can take."""
    return text.encode("utf-8", "replace").decode()
