"""Keeping a fact about the user."""

from perdure.tools import ToolContext, ToolError, tool

MAX_CHARACTERS = 2000


@tool(idempotent=True, timeout=20.0)
async def remember(fact: str, context: ToolContext) -> str:
    """Remember a fact about the user for later conversations.

    Use it when the user asks for it, or tells you something lasting about themselves, such as a preference, a name or
    a habit. Never keep passwords, card numbers or other secrets.

    Args:
        fact: One fact as a sentence that can be understood on its own, such as "Prefers metric units."
    """
    if not fact.strip():
        raise ToolError("The fact is empty; say what to remember.")
    if len(fact) > MAX_CHARACTERS:
        raise ToolError(f"The fact has {len(fact)} characters, over the limit of {MAX_CHARACTERS}: keep to one fact.")
    return "Remembered." if await context.facts.remember(fact) else "This was known already."
