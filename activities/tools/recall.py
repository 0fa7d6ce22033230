"""Finding what is remembered of the user."""

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from perdure.tools import ToolContext, ToolError, tool


@tool(idempotent=True, timeout=20.0)
async def recall(query: str, context: ToolContext, limit: Annotated[int, Field(ge=1, le=20)] = 5) -> dict[str, Any]:
    """Recall what you know about the user from earlier conversations.

    Returns remembered facts, most similar first, each with when it was remembered and a similarity score; the last
    ones may have little to do with the query.

    Args:
        query: What the facts should be about, in a few words, such as "favourite food".
        limit: How many facts to return at most.
    """
    if not query.strip():
        raise ToolError("The query is empty; say what to recall.")
    facts = await context.facts.recall(query, limit)
    if not facts:
        return {"facts": [], "note": "Nothing is remembered of this user."}
    return {"facts": [asdict(fact) for fact in facts]}
