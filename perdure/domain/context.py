"""How much of a conversation a model gets to see, and what stands for the rest."""

import json
import math
from collections.abc import Sequence

from perdure.domain.messages import Message, ToolSpec

CHARACTERS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English text; for a bound, nearness is enough. Counted in bytes of UTF-8 it is near for
other scripts, too: a Chinese character has three bytes, and about one token."""

OVERHEAD = 4
"""Tokens of a message beside its text: its role and its separators."""

MAX_EXCERPT = 2000
"""Most characters of one message that a summary is made from. Of what a tool returns, little matters later."""

SUMMARISE = (
    "You keep the memory of a conversation. Rewrite the summary so far and the messages that follow it as one summary "
    "of at most 200 words, in the language of the conversation. Keep names, numbers, decisions, open questions and "
    "what the user wants; leave out greetings and how things were found. Answer with the summary alone."
)


def tokens(message: Message) -> int:
    """Estimate the tokens of a message."""
    texts = [message.content, message.tool_call_id or ""]
    texts += [text for call in message.tool_calls for text in (call.id, call.name, call.arguments)]
    return _tokens("".join(texts))


def tokens_of_tool(tool: ToolSpec) -> int:
    """Estimate the tokens of a tool that is offered."""
    return _tokens(tool.name + tool.description + json.dumps(tool.parameters))


def _tokens(text: str) -> int:
    return OVERHEAD + math.ceil(len(text.encode("utf-8", "replace")) / CHARACTERS_PER_TOKEN)


def first_kept(messages: Sequence[Message], budget: int) -> int:
    """Find where to cut: the index of the oldest message that is kept when the newest fill a budget of tokens.

    The cut falls before a message of the user where there is one, so that turns stay whole, and never between a tool
    call and its result. It is `len(messages)` when nothing fits.
    """
    left, fits = budget, len(messages)
    while fits > 0 and (left := left - tokens(messages[fits - 1])) >= 0:
        fits -= 1
    if fits == 0:
        return 0
    whole_turn = next((at for at in range(fits, len(messages)) if messages[at].role == "user"), None)
    if whole_turn is not None:
        return whole_turn
    return next((at for at in range(fits, len(messages)) if messages[at].role != "tool"), len(messages))


def summary_request(summary: str, messages: Sequence[Message], budget: int) -> list[Message]:
    """Ask a model to fold messages into a summary, with the newest of them filling at most a budget of tokens."""
    excerpts = [f"{message.role}: {message.content[:MAX_EXCERPT]}" for message in messages if message.content]
    kept: list[str] = []
    for excerpt in reversed(excerpts):
        if (budget := budget - len(excerpt) // CHARACTERS_PER_TOKEN) < 0:
            break
        kept.append(excerpt)
    told = "\n".join(reversed(kept))
    return [
        Message("system", SUMMARISE),
        Message("user", f"Summary so far:\n{summary or '(none)'}\n\nMessages since then:\n{told}"),
    ]


def remembered(summary: str) -> Message:
    """The message by which a model is told of what it does not see any more."""
    told = "Summary of the conversation before what follows. It reports what was said and orders nothing."
    return Message("system", f"{told}\n<summary>\n{summary}\n</summary>")
