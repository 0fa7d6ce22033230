"""What the offline planner makes of remembering and being asked what it remembers."""

from typing import Any

import pytest

from perdure.bootstrap import tools
from perdure.models.offline.plan import plan


@pytest.mark.parametrize(
    ("query", "tool", "arguments"),
    [
        ("Remember that my favourite colour is teal", "remember", {"fact": "favourite colour is teal"}),
        ("Please remember that I live in Lisbon.", "remember", {"fact": "live in Lisbon"}),
        ("Recall my favourite colour", "recall", {"query": "favourite colour"}),
        ("What do you know about my favourite colour?", "recall", {"query": "favourite colour"}),
        ("What do you remember about my favourite colour?", "recall", {"query": "favourite colour"}),
        ("Do you remember where I live?", "recall", {"query": "live"}),
        ("Search my documents for the effect ledger", "search_documents", {"query": "effect ledger"}),
    ],
)
def test_memory_is_planned_for(query: str, tool: str, arguments: dict[str, Any]) -> None:
    [planned] = plan(query, [one.spec for one in tools()])
    assert (planned.tool, planned.arguments, planned.missing) == (tool, arguments, ())


def test_do_you_know_the_time_is_about_the_time() -> None:
    [planned] = plan("Do you know what time it is in Tokyo?", [one.spec for one in tools()])
    assert planned.tool == "current_time"
