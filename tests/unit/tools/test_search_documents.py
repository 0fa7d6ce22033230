"""Search in the user's own documents."""

import asyncio
import json
from typing import Any

import pytest

from activities.tools.search_documents import search_documents
from perdure.tools import ToolContext, ToolError
from perdure.tools.runner import run_tool
from perdure.tools.tool import Passage

PASSAGE = Passage("handbook.md", "Holidays", "Everyone has 30 days.", 120, 141, 0.91, "0a1b")


def test_passages_come_with_what_is_needed_to_cite_them(context: ToolContext, documents: Any) -> None:
    documents.passages.append(PASSAGE)
    outcome = asyncio.run(run_tool(search_documents, '{"query":"days off","limit":3}', context))
    assert json.loads(outcome.content) == {
        "passages": [
            {
                "document": "handbook.md",
                "heading": "Holidays",
                "text": "Everyone has 30 days.",
                "start": 120,
                "end": 141,
                "score": 0.91,
                "document_id": "0a1b",
            }
        ]
    }
    assert documents.asked == [("days off", 3)]


def test_nothing_found_is_said_plainly(context: ToolContext) -> None:
    assert "Nothing was found" in asyncio.run(search_documents("days off", context))["note"]


def test_an_empty_query_is_refused(context: ToolContext) -> None:
    with pytest.raises(ToolError, match="query is empty"):
        asyncio.run(search_documents("  ", context))


@pytest.mark.parametrize("limit", [0, 21])
def test_the_limit_is_bounded(context: ToolContext, documents: Any, limit: int) -> None:
    outcome = asyncio.run(run_tool(search_documents, json.dumps({"query": "q", "limit": limit}), context))
    assert outcome.is_error
    assert documents.asked == []
