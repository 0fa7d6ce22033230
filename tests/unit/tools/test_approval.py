"""When a person must agree to a call."""

from typing import Any, Literal

import pytest

from perdure.loop.approvals import needs_approval
from perdure.tools import tool
from perdure.tools.approval import MAX_LENGTH, check_policy, is_needed


@tool
def transfer(amount: float, to: list[str], currency: Literal["EUR", "USD"] = "EUR", urgent: bool = False) -> str:
    """Move money.

    Args:
        amount: How much.
        to: Whom.
        currency: Of what.
        urgent: Whether at once.
    """
    return "moved"


PARAMETERS = tuple(transfer.parameters["properties"])
ARGUMENTS = {"amount": 50.0, "to": ["ann@example.com", "bob@example.org"], "currency": "EUR", "urgent": False}


@pytest.mark.parametrize(
    ("policy", "needed"),
    [
        ("never", False),
        ("always", True),
        ("amount > 100", False),
        ("amount > 10 and currency == 'EUR'", True),
        ("not all(one.endswith('@example.com') for one in to)", True),
        ("len(to) > 5 or urgent", False),
        ("currency not in ['EUR', 'USD']", False),
        ("  urgent == False\n", True),
    ],
)
def test_an_expression_over_the_arguments_decides(policy: str, needed: bool) -> None:
    check_policy(policy, PARAMETERS)
    assert is_needed(policy, ARGUMENTS) is needed


@pytest.mark.parametrize(
    "policy",
    [
        "amount / 0 > 1",
        "amount > 'a'",
        "to[7] == 'x'",
        "currency.format(to)",
        "().__class__.__bases__",
        "'a' * 10 ** 9",
        "9 ** 9 ** 9 > amount",
        "[x for x in to for y in to for z in to if x.nothing]",
    ],
)
def test_an_expression_that_fails_or_goes_too_far_asks_for_approval(policy: str) -> None:
    assert is_needed(policy, ARGUMENTS)


def test_an_expression_that_fails_tells_the_log_nothing_of_the_arguments(caplog: pytest.LogCaptureFixture) -> None:
    assert is_needed("int(currency) > 1", {**ARGUMENTS, "currency": "very secret"})
    assert "ValueError" in caplog.text
    assert "very secret" not in caplog.text


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("amuont > 100", "there is no 'amuont'"),
        ("import os", "no expression"),
        ("amount >", "no expression"),
        ("amount = 5", "no expression"),
        ("", "no expression"),
        ("open('x')", "there is no 'open'"),
        ("amount > " + "1" * MAX_LENGTH, "at most 1,000 characters"),
        (True, "approval is 'True'"),
    ],
)
def test_a_policy_that_cannot_be_decided_on_is_refused_with_what_would_be_right(policy: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r"^approval is ") as error:
        check_policy(policy, PARAMETERS)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ('{"amount": 101, "to": []}', True),
        ('{"amount": 100, "to": []}', False),
        # The default counts as if it had been said.
        ('{"amount": 1, "to": [], "currency": "USD"}', True),
        # The tool refuses these; there is nothing to agree to.
        ('{"amount": "101", "to": []}', False),
        ('{"amount": 101', False),
    ],
)
def test_what_the_tool_would_be_called_with_decides(arguments: str, needed: bool) -> None:
    assert needs_approval({"transfer": "amount > 100 or currency != 'EUR'"}, transfer, arguments) is needed


def test_a_tool_without_a_policy_needs_nobodys_approval() -> None:
    assert not needs_approval({"other": "always"}, transfer, "{}")
