"""Failure details, worded as the Durable extension words them."""

import pytest

from devhost.failures import failure_details
from devhost.worker import Failure


@pytest.mark.parametrize(
    ("reported", "error_type", "message"),
    [
        ("ValueError: bad: very", "ValueError", "bad: very"),
        ("ValueError: first line\nsecond line", "ValueError", "first line"),
        ("ValueError: ", "ValueError", "ValueError"),
        ("something odd", "(unknown)", "something odd"),
    ],
)
def test_a_report_of_the_worker_is_split_into_type_and_message(reported: str, error_type: str, message: str) -> None:
    details = failure_details(Failure(reported, "the stack"))
    assert (details.errorType, details.errorMessage) == (error_type, message)
    assert details.stackTrace.value == "the stack"
