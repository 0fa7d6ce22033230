"""Output that leads nowhere: how often the model is told, and when it ends the task."""

from datetime import UTC, datetime

import pytest

from perdure.domain.conversation import conversation, turn
from perdure.domain.messages import ToolCall, Usage
from perdure.domain.output import EMPTY, REPEATED, RUN, TOLD, USELESS, Verdict, judge
from perdure.domain.task import Agent, CallState, LedgerEntry, Limits, Step, Task, TaskRecord

NOW = datetime.now(UTC)
TASK = Task("task", "t", "u", "Why?", None, Agent("a", "i", "m", ("look",), Limits(50, 60)), {}, NOW)
TOOLS = {"look"}


def call(name: str = "look", arguments: str = '{"at": 1}') -> ToolCall:
    return ToolCall("c", name, arguments)


def step(number: int, *calls: ToolCall, text: str = "") -> Step:
    return Step(number, text, calls, Usage(), "m", NOW, NOW)


def entry(number: int, index: int, content: str) -> LedgerEntry:
    state = CallState.FAILED if content == REPEATED else CallState.COMMITTED
    return LedgerEntry(number, index, "look", "{}", "key", state, content)


def verdicts(turns: list[tuple[list[ToolCall], str]], text: str = "") -> list[Verdict]:
    """What becomes of each turn, with the result of its calls when they are run."""
    record, found = TaskRecord(TASK), list[Verdict]()
    for number, (calls, result) in enumerate(turns, 1):
        taken = step(number, *calls, text=text)
        verdict = judge(record, taken, TOOLS)
        results = tuple(entry(number, index, verdict.refusal or result) for index in range(len(calls)))
        record = TaskRecord(TASK, (*record.steps, taken), (*record.calls, *results))
        # An attempt that runs again finds the step recorded, and its calls settled.
        assert judge(record, taken, TOOLS) == verdict
        found.append(verdict)
    return found


FINE = Verdict()
NOTHING: tuple[list[ToolCall], str] = ([], "")


def test_a_model_that_says_nothing_is_told_twice() -> None:
    *told, last = verdicts([NOTHING] * USELESS)
    assert told == [FINE, FINE]
    assert last.ends == "empty_reply"


@pytest.mark.parametrize("bad", [call("no_such_tool"), call(arguments='{"at": '), call(arguments="[1]")])
def test_a_model_whose_calls_cannot_be_run_is_told_twice(bad: ToolCall) -> None:
    *told, last = verdicts([([bad, bad], "no")] * USELESS, text="I insist.")
    assert told == [FINE, FINE]
    assert last.ends == "invalid_output"


def test_both_count_together_and_the_last_names_the_reason() -> None:
    assert verdicts([NOTHING, ([call("x")], "no"), NOTHING])[-1].ends == "empty_reply"
    assert verdicts([([call("x")], "no"), NOTHING, ([call("x")], "no")])[-1].ends == "invalid_output"


@pytest.mark.parametrize("good", [[call()], [call("x"), call()], [call(arguments="")]])
def test_one_call_that_can_be_run_starts_the_count_anew(good: list[ToolCall]) -> None:
    assert verdicts([NOTHING, NOTHING, (good, "1"), NOTHING, NOTHING]) == [FINE] * 5


def test_an_answer_is_never_of_no_use() -> None:
    assert verdicts([([], "")] * 9, text="Because.") == [FINE] * 9


def test_the_same_calls_with_the_same_results_are_run_three_times_told_twice_and_then_end_the_task() -> None:
    ran, told = [FINE] * RUN, [Verdict(refusal=REPEATED)] * TOLD
    *before, last = verdicts([([call(), call(arguments='{"at": 2}')], "1")] * (RUN + TOLD + 1))
    assert before == ran + told
    assert last.ends == "repetition"


def test_spelling_does_not_make_another_call() -> None:
    spelt = ['{"a": 1, "b": 2}', '{"b":2,"a":1}', '{ "a":1, "b":2 }', '{"b": 2, "a": 1}']
    assert verdicts([([call(arguments=arguments)], "1") for arguments in spelt])[-1].refusal == REPEATED


def test_a_call_whose_result_changes_may_be_made_for_ever() -> None:
    assert verdicts([([call()], str(number)) for number in range(20)]) == [FINE] * 20


def test_another_call_in_between_starts_the_count_anew() -> None:
    other = ([call(arguments='{"at": 2}')], "2")
    turns = [([call()], "1")] * RUN
    assert verdicts([*turns, other, *turns, other]) == [FINE] * 8


def test_a_model_that_takes_the_hint_goes_on() -> None:
    turns = [([call()], "1")] * (RUN + TOLD)
    assert verdicts([*turns, ([call(arguments='{"at": 2}')], "2"), ([call()], "1")])[-2:] == [FINE, FINE]


def test_an_empty_step_is_not_shown_to_the_model_but_what_it_is_told_of_it() -> None:
    record = TaskRecord(TASK, (step(1, call()), step(2)), (entry(1, 0, "1"),))
    said = [(message.role, message.content) for message in conversation(record)]
    assert said == [("system", "i"), ("user", "Why?"), ("assistant", ""), ("tool", "1"), ("user", EMPTY)]


def test_what_a_model_was_told_of_an_empty_step_does_not_stay_in_the_conversation() -> None:
    record = TaskRecord(TASK, (step(1), step(2, text="Because.")))
    said = [message.content for message in conversation(record)]
    assert said == ["i", "Why?", "Because."]
    assert [message.content for message in turn(record)] == ["Why?", "Because."]
