"""From what is stored of a task to what the model sees."""

from dataclasses import replace
from datetime import UTC, datetime

from perdure.domain.conversation import NO_RESULT, UNKNOWN, conversation
from perdure.domain.messages import Message, ToolCall, Usage
from perdure.domain.task import Agent, CallState, LedgerEntry, Limits, Step, Task, TaskRecord
from perdure.stores import task_documents as documents

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TASK = Task("id", "tenant", "user", "Why?", None, Agent("a", "Be kind.", "m", ("t",), Limits(5, 60)), {}, NOW)
CALLS = (ToolCall("x", "t", "{}"), ToolCall("y", "t", '{"a":1}'), ToolCall("z", "t", "{}"))
STEP = Step(1, "Let me see.", CALLS, Usage(3, 4), "m", NOW, NOW)


def entry(index: int, state: CallState, content: str | None) -> LedgerEntry:
    return LedgerEntry(1, index, "t", CALLS[index].arguments, "key", state, content)


def test_a_new_task_is_instructions_and_query() -> None:
    assert conversation(TaskRecord(TASK)) == [Message("system", "Be kind."), Message("user", "Why?")]


def test_every_call_has_exactly_one_result_whatever_became_of_it() -> None:
    entries = (
        entry(0, CallState.COMMITTED, "ok"),
        entry(1, CallState.FAILED, "no"),
        entry(2, CallState.DISPATCHED, None),
    )
    told = conversation(TaskRecord(TASK, (STEP,), entries))[2:]
    assert told == [
        Message("assistant", "Let me see.", CALLS),
        Message("tool", "ok", tool_call_id="x"),
        Message("tool", "Error: no", tool_call_id="y"),
        Message("tool", f"Error: {UNKNOWN}", tool_call_id="z"),
    ]
    assert conversation(TaskRecord(TASK, (STEP,)))[3:] == [
        Message("tool", NO_RESULT, tool_call_id=call.id) for call in CALLS
    ]


def test_an_empty_result_is_a_result() -> None:
    told = conversation(TaskRecord(TASK, (STEP,), (entry(0, CallState.COMMITTED, ""),)))
    assert told[3] == Message("tool", "", tool_call_id="x")


def test_context_comes_before_the_query() -> None:
    told = conversation(TaskRecord(replace(TASK, context={"naïve": [1]})))
    assert [message.role for message in told] == ["system", "system", "user"]
    assert '{"naïve": [1]}' in told[1].content


def test_a_record_is_put_together_from_documents_in_any_order() -> None:
    second = replace(STEP, number=2, calls=())
    entries = [replace(entry(n, CallState.PREPARED, None), started_at=NOW) for n in range(3)]
    bodies = [documents.from_call(call) for call in reversed(entries)]
    bodies += [documents.from_step(second), documents.from_task(TASK), documents.from_step(STEP), {"type": "later"}]
    assert documents.to_record(bodies) == TaskRecord(TASK, (STEP, second), tuple(entries))
    assert documents.to_record(bodies[:3]) is None
