"""E-mails into the outbox."""

import json
from typing import Any

import pytest

from activities.tools.send_email import MAX_BODY, MAX_RECIPIENTS, MAX_SUBJECT, send_email
from perdure.tools import ToolContext
from perdure.tools.runner import ToolOutcome, run_tool
from tests.unit.tools.conftest import KeptMessages

pytestmark = pytest.mark.anyio

GOOD: dict[str, Any] = {"to": ["ann@example.com"], "subject": "Lunch", "body": "At noon?"}


async def send(context: ToolContext, **change: Any) -> ToolOutcome:
    return await run_tool(send_email, json.dumps(GOOD | change), context)


async def test_a_message_is_put_into_the_outbox_as_it_was_written(context: ToolContext, outbox: KeptMessages) -> None:
    outcome = await send(context, to=["ann@example.com", "Bob.O'Hara+x@sub.example.org"])
    assert not outcome.is_error
    assert outbox.messages == [GOOD | {"to": ["ann@example.com", "Bob.O'Hara+x@sub.example.org"]}]


@pytest.mark.parametrize(
    "change",
    [
        {"to": []},
        {"to": ["ann@example.com"] * (MAX_RECIPIENTS + 1)},
        {"to": ["ann"]},
        {"to": ["ann@example.com, bob@example.com"]},
        {"to": ["Ann <ann@example.com>"]},
        {"to": ["ann@example.com\r\nBcc: bob@example.com"]},
        {"to": ["ann@example.com\n"]},
        {"to": ["ann@-example.com"]},
        {"subject": " "},
        {"subject": "Lunch\r\nBcc: bob@example.com"},
        {"subject": "x" * (MAX_SUBJECT + 1)},
        {"body": "\n"},
        {"body": "x" * (MAX_BODY + 1)},
    ],
)
async def test_what_is_no_proper_message_is_refused_with_a_reason(
    context: ToolContext, outbox: KeptMessages, change: dict[str, Any]
) -> None:
    outcome = await send(context, **change)
    assert outcome.is_error
    assert outbox.messages == []


def test_it_needs_approval_and_must_not_run_twice() -> None:
    assert (send_email.approval, send_email.idempotent) == ("always", False)
