"""The partial answer of a task whose model did not come back: only what there is, and named as what it is."""

from datetime import UTC, datetime

import pytest

from perdure.domain.messages import Usage
from perdure.domain.partial import LONGEST, LONGEST_RESULT, PARTIAL, partial_answer
from perdure.domain.task import Agent, CallState, LedgerEntry, Limits, Step, Task, TaskRecord

NOW = datetime.now(UTC)
TASK = Task("task", "t", "u", "Why?", None, Agent("a", "i", "m", ("look",), Limits(50, 60)), {}, NOW)


def step(number: int, text: str) -> Step:
    return Step(number, text, (), Usage(), "m", NOW, NOW)


def entry(number: int, content: str | None, state: CallState = CallState.COMMITTED) -> LedgerEntry:
    return LedgerEntry(number, 0, "look", f'{{"at": {number}}}', "key", state, content)


def test_it_has_what_the_model_wrote_last_and_what_its_tools_found() -> None:
    record = TaskRecord(TASK, (step(1, "First."), step(2, "Then."), step(3, " ")), (entry(1, "one"), entry(2, "two")))
    assert partial_answer(record) == (
        f'{PARTIAL}\n\nThen.\n\nResults of tools:\n- look {{"at": 1}}: one\n- look {{"at": 2}}: two'
    )


def test_it_has_either_of_them_alone() -> None:
    assert partial_answer(TaskRecord(TASK, (step(1, "First."),))) == f"{PARTIAL}\n\nFirst."
    found = partial_answer(TaskRecord(TASK, (step(1, ""),), (entry(1, "one"),)))
    assert found == f'{PARTIAL}\n\nResults of tools:\n- look {{"at": 1}}: one'


@pytest.mark.parametrize("state", [state for state in CallState if state is not CallState.COMMITTED])
def test_what_did_not_happen_or_may_not_have_is_no_result(state: CallState) -> None:
    assert partial_answer(TaskRecord(TASK, (), (entry(1, "no", state),))) is None


def test_there_is_none_when_there_is_nothing() -> None:
    assert partial_answer(TaskRecord(TASK)) is None
    assert partial_answer(TaskRecord(TASK, (step(1, ""),), (entry(1, None),))) is None


def test_it_is_short_and_keeps_the_newest() -> None:
    record = TaskRecord(TASK, (), tuple(entry(number, f"{number} " + "x" * 5000) for number in range(50)))
    text = partial_answer(record)
    assert text is not None
    assert len(text) < LONGEST + 500
    assert f'- look {{"at": 49}}: 49 {"x" * (LONGEST_RESULT - 3)}…' in text
    assert '- look {"at": 0}:' not in text
