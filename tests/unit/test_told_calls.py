"""Tool calls as callers are told of them."""

from dataclasses import replace
from datetime import UTC, datetime

from perdure.domain.task import Agent, CallState, LedgerEntry, Limits, Reason, Task, TaskRecord

AGENT = Agent("clerk", "Charge.", "model", ("charge",), Limits(5, 60.0))
TASK = Task("task", "tenant", "user", "Charge.", None, AGENT, {}, datetime(2030, 1, 1, tzinfo=UTC))
AT_WORK = LedgerEntry(1, 0, "charge", "{}", "key", CallState.DISPATCHED)
NOT_STARTED = LedgerEntry(1, 1, "charge", "{}", "other", CallState.PREPARED)


def test_a_call_that_is_at_work_is_dispatched() -> None:
    assert TaskRecord(TASK, calls=(AT_WORK, NOT_STARTED)).told_calls == (AT_WORK, NOT_STARTED)


def test_a_call_that_was_at_work_when_its_task_ended_is_unknown() -> None:
    ended = TaskRecord(replace(TASK, reason=Reason.TIME_LIMIT), calls=(AT_WORK, NOT_STARTED))
    assert ended.told_calls == (replace(AT_WORK, state=CallState.UNKNOWN), NOT_STARTED)
