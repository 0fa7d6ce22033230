"""Facts about the user, kept and found."""

import asyncio
import json
from typing import Any

import pytest

from activities.tools.recall import recall
from activities.tools.remember import remember
from perdure.tools import ToolContext, ToolError
from perdure.tools.runner import run_tool


def test_a_fact_is_kept_and_found_again(context: ToolContext, facts: Any) -> None:
    kept = asyncio.run(run_tool(remember, '{"fact": "Likes tea."}', context))
    assert (kept.content, facts.known) == ("Remembered.", ["Likes tea."])
    found = asyncio.run(run_tool(recall, '{"query": "drinks"}', context))
    assert json.loads(found.content) == {
        "facts": [{"fact": "Likes tea.", "remembered_at": "2026-01-31T12:00:00+00:00", "score": 0.5}]
    }


def test_what_was_known_is_said_to_be(context: ToolContext, facts: Any) -> None:
    facts.known.append("Likes tea.")
    assert "known already" in asyncio.run(remember("Likes tea.", context))


def test_nothing_remembered_is_said_plainly(context: ToolContext) -> None:
    assert "Nothing is remembered" in asyncio.run(recall("drinks", context))["note"]


@pytest.mark.parametrize(("fact", "said"), [(" ", "empty"), ("x" * 2001, "2001 characters")])
def test_a_fact_that_cannot_be_kept_is_refused(context: ToolContext, facts: Any, fact: str, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        asyncio.run(remember(fact, context))
    assert facts.known == []


@pytest.mark.parametrize("limit", [0, 21])
def test_the_limit_is_bounded(context: ToolContext, limit: int) -> None:
    assert asyncio.run(run_tool(recall, json.dumps({"query": "q", "limit": limit}), context)).is_error
