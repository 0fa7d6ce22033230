"""The orchestrator on a real task hub, its activities swapped by name."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from orchestrators.agent_task import GENERATION, PATIENCE
from orchestrators.tool_turn import ALLOWANCE
from perdure.domain.names import (
    CANCEL,
    FINISH_TASK,
    JOIN_THREAD,
    LOOK_AT_APPROVALS,
    MODEL_STEP,
    SETTLE_CALLS,
    TURN,
    tool_activity,
)
from perdure.domain.next_step import FIRST_DELAY, PATIENCE_WITH_THREAD, StepOutcome
from perdure.domain.next_step import PATIENCE as APPROVAL_PATIENCE
from tests.durable.agent_recording import (
    ANSWER,
    ASKS,
    BROKEN,
    NONE,
    SCENARIOS,
    SLOW,
    WAITING,
    Scenario,
    calls,
    play,
)
from tests.durable.recording import Json, Played

GOOD, BAD = tool_activity("good"), tool_activity("bad")
BOUNDARY = 2 * GENERATION + 1
"""The turn that continues as new, when every step before it called one tool: the first, and two for each step."""


def names(played: Played) -> list[str]:
    return [name for name, _ in played.activities]


def end(played: Played) -> tuple[str, str | None]:
    assert played.status == "ORCHESTRATION_STATUS_COMPLETED"
    return played.output["reason"], played.output["detail"]


def actions(played: Played, kind: str) -> list[Json]:
    """What the orchestrator asked the hub for, of one kind, in order."""
    turns = [turn for generation in played.generations for turn in generation]
    return [action[kind] for turn in turns for action in turn.actions if kind in action]


def waits(played: Played) -> list[timedelta]:
    """How long each timer was to run; without those that no test waits for: the deadline's, which every generation
    starts with and every pause sets anew, and of calls that take long."""
    lengths = [
        datetime.fromisoformat(action["createTimer"]["fireAt"]) - turn.new[0].timestamp.ToDatetime(UTC)
        for generation in played.generations
        for turn in generation[1:]
        for action in turn.actions
        if "createTimer" in action
    ]
    return [length for length in lengths if length < timedelta(seconds=SLOW)]


def test_calls_of_one_step_run_before_the_next_step_and_a_failing_one_discards_no_other() -> None:
    played = play(SCENARIOS["answers_after_tools"])
    assert end(played) == ("answered", None)
    first, rest = names(played)[0], names(played)[1:]
    assert first == MODEL_STEP
    # The failing call is tried as often as the policy says, and the others once each.
    second_step = rest.index(MODEL_STEP)
    assert sorted(rest[: second_step - 1]) == [BAD] * 8 + [GOOD] * 2
    assert rest[second_step - 1 :] == [SETTLE_CALLS, MODEL_STEP, GOOD, MODEL_STEP, FINISH_TASK]


def test_calls_of_one_step_are_scheduled_side_by_side() -> None:
    [_, second, *_] = play(SCENARIOS["answers_after_tools"]).generations[0]
    *scheduled, timer = second.actions
    assert [action["scheduleTask"]["name"] for action in scheduled] == [GOOD, BAD, GOOD]
    assert [json.loads(action["scheduleTask"]["input"])["index"] for action in scheduled] == [0, 1, 2]
    assert "createTimer" in timer, "and one timer is set for all of them"


def test_a_step_whose_calls_were_all_settled_goes_straight_to_the_next() -> None:
    assert names(play(SCENARIOS["goes_on_when_no_call_can_run"])) == [MODEL_STEP, MODEL_STEP, FINISH_TASK]


def test_a_task_that_continues_as_new_counts_its_steps_on_from_an_empty_history() -> None:
    played = play(SCENARIOS["continues_as_new"])
    assert end(played) == ("answered", None)
    assert [ref["step"] for name, ref in played.activities if name == MODEL_STEP] == list(range(1, 24))
    inputs = [
        json.loads(event.executionStarted.input.value)
        for [first, *_] in played.generations
        for event in first.new
        if event.HasField("executionStarted")
    ]
    assert [run["step"] for run in inputs] == [1, 1 + GENERATION, 1 + 2 * GENERATION]
    assert {run["deadline"] for run in inputs} == {inputs[0]["deadline"]}


@pytest.mark.parametrize("event", [CANCEL, TURN])
def test_an_event_that_comes_with_the_last_outcome_of_a_generation_is_handed_to_the_next(event: str) -> None:
    played = play(Scenario([*[calls("good")] * 12, ANSWER], raised_with={BOUNDARY: event}))
    [handed_on, *_] = actions(played, "completeOrchestration")
    assert [carried["eventRaised"]["name"] for carried in handed_on["carryoverEvents"]] == [event]


@pytest.mark.parametrize("way", ["raised_with", "raised_after"])
def test_a_cancellation_at_the_end_of_a_generation_ends_the_task(way: str) -> None:
    played = play(Scenario([*[calls("good")] * 12, ANSWER], **{way: {BOUNDARY: CANCEL}}))
    assert end(played)[0] == "cancelled"
    assert names(played).count(GOOD) == GENERATION
    assert len(played.generations) == 2


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        ("reaches_the_step_limit", "step_limit"),
        ("reaches_the_time_limit", "time_limit"),
        ("reaches_the_time_limit_while_it_waits_for_its_thread", "time_limit"),
        ("is_cancelled_during_a_tool", "cancelled"),
        ("is_cancelled_while_it_waits_for_its_thread", "cancelled"),
        ("gives_up_on_the_model", "degraded"),
        ("gives_up_on_the_model_before_the_time_limit", "degraded"),
        ("is_cancelled_while_the_model_is_down", "cancelled"),
        ("gets_nothing_but_invalid_output", "invalid_output"),
        ("gets_the_same_calls_again_and_again", "repetition"),
        ("is_rejected", "model_rejected"),
        ("gets_an_empty_reply", "empty_reply"),
        ("loses_its_lease", "lease_lost"),
        ("fails_at_the_model_step", "internal_error"),
        ("cannot_join_its_thread", "internal_error"),
        ("is_cancelled_while_it_waits_for_approval", "cancelled"),
        ("ended_while_it_waited_for_approval", "cancelled"),
        ("loses_its_lease_while_it_waits_for_approval", "lease_lost"),
        ("cannot_look_at_approvals", "internal_error"),
        ("is_cancelled_while_it_settles", "cancelled"),
        ("is_cancelled_while_a_call_may_be_at_work", "cancelled"),
        ("cannot_settle_calls", "internal_error"),
    ],
)
def test_every_end_has_its_own_reason(scenario: str, reason: str) -> None:
    played = play(SCENARIOS[scenario])
    assert end(played)[0] == reason
    assert names(played)[-1] == FINISH_TASK


def test_the_step_limit_is_counted_exactly() -> None:
    assert names(play(SCENARIOS["reaches_the_step_limit"])).count(MODEL_STEP) == 3


def test_an_unavailable_model_is_asked_the_same_step_again_when_it_said_but_not_before_our_own_delay() -> None:
    played = play(SCENARIOS["waits_for_the_model"])
    assert waits(played) == [timedelta(seconds=FIRST_DELAY), timedelta(seconds=7)]
    assert [ref["step"] for name, ref in played.activities if name == MODEL_STEP] == [1, 1, 1]
    assert end(played) == ("answered", None)


def test_an_outage_is_waited_out_no_longer_than_the_agent_says() -> None:
    played = play(SCENARIOS["gives_up_on_the_model"])
    assert waits(played) == [timedelta(seconds=seconds) for seconds in (1, 2, 4)]
    assert end(played) == ("degraded", "no")


def test_no_wait_for_the_model_is_begun_that_the_time_limit_would_end() -> None:
    played = play(SCENARIOS["gives_up_on_the_model_before_the_time_limit"])
    assert names(played) == [MODEL_STEP, FINISH_TASK]
    assert waits(played) == []


def test_a_broken_exchange_is_repeated_without_a_timer() -> None:
    played = play(SCENARIOS["asks_again_at_once_after_a_broken_exchange"])
    assert names(played) == [MODEL_STEP, MODEL_STEP, FINISH_TASK]
    assert waits(played) == []


def test_a_task_that_waits_for_a_model_that_is_down_says_so_and_counts_the_outage_of_each_step_by_itself() -> None:
    played = play(SCENARIOS["waits_while_the_model_is_down"])
    looks = [(ref["step"], ref["waiting"]) for name, ref in played.activities if name == MODEL_STEP]
    assert looks == [(1, False), *[(1, True)] * 13, (2, False), (2, True)]
    assert waits(played) == [timedelta(seconds=1), *[timedelta(seconds=12.5)] * 13]
    assert len(played.generations) == 2
    assert end(played) == ("answered", None)


def test_a_model_that_said_nothing_is_asked_the_next_step() -> None:
    played = play(SCENARIOS["tells_the_model_that_it_said_nothing"])
    assert [ref["step"] for name, ref in played.activities if name == MODEL_STEP] == [1, 2]
    assert end(played) == ("answered", None)


def test_a_task_that_somebody_else_ended_leaves_its_thread_and_asks_nothing_more() -> None:
    played = play(SCENARIOS["was_ended_by_somebody_else"])
    assert names(played) == [MODEL_STEP, GOOD, MODEL_STEP, FINISH_TASK]
    assert played.status == "ORCHESTRATION_STATUS_COMPLETED"


def test_a_model_step_that_keeps_failing_is_tried_as_often_as_the_policy_says() -> None:
    assert names(play(SCENARIOS["fails_at_the_model_step"])) == [MODEL_STEP] * 8 + [FINISH_TASK]


def test_a_model_step_that_fails_once_is_simply_repeated() -> None:
    played = play(Scenario([BROKEN, calls("good"), StepOutcome("answer")]))
    assert end(played) == ("answered", None)
    assert names(played) == [MODEL_STEP, MODEL_STEP, GOOD, MODEL_STEP, FINISH_TASK]


# Threads.


def test_a_task_of_a_thread_joins_it_once_and_then_takes_its_steps() -> None:
    played = play(Scenario([calls("good"), ANSWER], [True]))
    assert names(played) == [JOIN_THREAD, MODEL_STEP, GOOD, MODEL_STEP, FINISH_TASK]
    assert {ref["thread"] for name, ref in played.activities if name in (MODEL_STEP, FINISH_TASK)} == {"thread"}


def test_a_task_that_waits_for_its_thread_takes_no_step_before_it_is_woken() -> None:
    """No timer fires in this hub: only the event can have woken it."""
    played = play(SCENARIOS["waits_for_its_thread_and_is_woken"])
    assert names(played) == [JOIN_THREAD, JOIN_THREAD, MODEL_STEP, FINISH_TASK]
    assert end(played) == ("answered", None)


def test_a_task_whose_turn_was_never_announced_looks_for_itself() -> None:
    played = play(SCENARIOS["waits_for_its_thread_and_wakes_by_itself"])
    assert names(played) == [JOIN_THREAD] * 3 + [MODEL_STEP, FINISH_TASK]
    assert waits(played) == [PATIENCE] * 2


def test_a_turn_that_was_announced_while_the_task_was_joining_is_taken_at_once() -> None:
    """No timer fires in this hub: it would wait for ever if the event were lost on it."""
    played = play(Scenario(joins=[False, True], timers=NONE, raised_after={1: TURN}))
    assert names(played) == [JOIN_THREAD, JOIN_THREAD, MODEL_STEP, FINISH_TASK]


def test_a_turn_that_was_announced_while_the_task_was_joining_is_taken_once() -> None:
    played = play(Scenario(joins=[False, False, True], raised_after={1: TURN}))
    assert names(played) == [JOIN_THREAD] * 3 + [MODEL_STEP, FINISH_TASK]
    [generation] = played.generations
    waiting = [turn for turn in generation[1:] if any("createTimer" in action for action in turn.actions)]
    assert [len(turn.actions) for turn in waiting] == [2, 1], "it joins a third time only when the timer has fired"


def test_a_task_that_waits_longer_than_a_generation_still_gets_its_turn() -> None:
    played = play(SCENARIOS["waits_for_its_thread_longer_than_a_generation"])
    assert len(played.generations) == 2
    assert names(played) == [JOIN_THREAD] * 13 + [MODEL_STEP, FINISH_TASK]
    assert end(played) == ("answered", None)


def test_a_task_that_ends_wakes_the_next_writer_and_does_not_tell_the_caller() -> None:
    played = play(SCENARIOS["hands_its_thread_on"])
    assert [(sent["instance"]["instanceId"], sent["name"]) for sent in actions(played, "sendEvent")] == [
        ("other", TURN)
    ]
    assert played.output == {"reason": "answered", "detail": None}


@pytest.mark.parametrize("scenario", ["joins_its_thread_at_once", "is_cancelled_while_it_waits_for_its_thread"])
def test_a_task_that_ends_with_nobody_waiting_wakes_nobody(scenario: str) -> None:
    assert actions(play(SCENARIOS[scenario]), "sendEvent") == []


# Approvals.


def test_a_call_that_waits_for_approval_runs_when_it_was_approved_and_not_before() -> None:
    """No timer fires in this hub: only the event can have woken the task."""
    played = play(SCENARIOS["runs_what_was_approved"])
    assert names(played) == [MODEL_STEP, LOOK_AT_APPROVALS, LOOK_AT_APPROVALS, GOOD, MODEL_STEP, FINISH_TASK]
    assert end(played) == ("answered", None)


def test_calls_that_need_no_approval_and_those_approved_first_wait_for_no_other() -> None:
    played = play(SCENARIOS["runs_what_was_approved_while_more_waits"])
    assert names(played) == [MODEL_STEP, GOOD, *[LOOK_AT_APPROVALS, GOOD] * 2, MODEL_STEP, FINISH_TASK]
    assert [ref["index"] for name, ref in played.activities if name == GOOD] == [0, 1, 2]


def test_a_task_that_is_not_told_of_a_decision_looks_for_itself_and_at_once_when_the_time_to_decide_is_over() -> None:
    played = play(SCENARIOS["looks_for_decisions_by_itself"])
    assert names(played) == [MODEL_STEP, *[LOOK_AT_APPROVALS] * 3, MODEL_STEP, FINISH_TASK]
    assert waits(played) == [timedelta(seconds=APPROVAL_PATIENCE), timedelta(seconds=3.5)]


def test_a_task_of_a_thread_looks_often_enough_to_keep_its_lease() -> None:
    played = play(SCENARIOS["looks_for_decisions_more_often_in_a_thread"])
    assert waits(played)[0] == timedelta(seconds=PATIENCE_WITH_THREAD)


def test_a_decision_that_comes_while_the_task_looks_is_not_missed() -> None:
    """No timer fires in this hub: it would wait for ever if the event were lost on it."""
    played = play(SCENARIOS["is_told_of_a_decision_before_it_waits"])
    assert names(played).count(LOOK_AT_APPROVALS) == 2


def test_time_that_a_person_takes_does_not_count_towards_the_deadline() -> None:
    played = play(SCENARIOS["waits_for_approval_longer_than_a_generation"])
    assert len(played.generations) == 2
    starts = [event for [turn, *_] in played.generations for event in turn.new if event.HasField("executionStarted")]
    inputs = [json.loads(event.executionStarted.input.value) for event in starts]
    first, second = (datetime.fromisoformat(run["deadline"]) for run in inputs)
    assert second > first


def test_the_deadline_still_ends_a_task_that_looks_at_approvals() -> None:
    played = play(Scenario([ASKS], looks=[WAITING], deadline="2020-01-01T00:00:00+00:00", timers=NONE))
    assert end(played)[0] == "time_limit"


# Calls without an outcome.


def settled(played: Played) -> list[list[int]]:
    """Which calls were settled, each time."""
    return [ref["calls"] for name, ref in played.activities if name == SETTLE_CALLS]


def test_a_call_of_which_nothing_is_heard_does_not_hold_the_task() -> None:
    played = play(SCENARIOS["gives_up_a_call_of_which_nothing_is_heard"])
    assert waits(played) == [timedelta(seconds=30) + ALLOWANCE]
    assert settled(played) == [[0]]
    assert names(played)[-2:] == [MODEL_STEP, FINISH_TASK]
    assert end(played) == ("answered", None)


def test_a_turn_goes_on_while_its_calls_end_and_gives_up_only_those_that_do_not() -> None:
    played = play(SCENARIOS["waits_longer_while_calls_end"])
    assert waits(played) == [timedelta(seconds=30) + ALLOWANCE] * 2
    assert settled(played) == [[1]]
    assert end(played) == ("answered", None)


def test_a_call_that_failed_is_settled_and_no_other() -> None:
    assert settled(play(SCENARIOS["settles_what_failed_and_keeps_the_rest"])) == [[1]]


def test_a_call_that_may_still_be_at_work_is_waited_for_and_then_settled() -> None:
    played = play(SCENARIOS["waits_for_a_call_that_may_still_be_at_work"])
    assert settled(played) == [[0], [0]]
    assert waits(played)[-1] == timedelta(seconds=12.5)
    assert end(played) == ("answered", None)


def test_no_step_is_taken_before_a_person_has_said_what_became_of_a_call() -> None:
    """No timer fires in this hub: only the event can have woken the task."""
    played = play(SCENARIOS["asks_what_became_of_a_call"])
    unsure = tool_activity("unsure")
    assert names(played) == [
        MODEL_STEP, unsure, SETTLE_CALLS, LOOK_AT_APPROVALS, LOOK_AT_APPROVALS, MODEL_STEP, FINISH_TASK,
    ]  # fmt: skip


def test_a_call_that_is_run_again_may_become_unknown_again_and_the_others_stay_as_they_are() -> None:
    played = play(SCENARIOS["runs_a_call_again_whose_outcome_was_unknown"])
    unsure = tool_activity("unsure")
    assert sorted(names(played)[1:3]) == [GOOD, unsure]
    looked = [SETTLE_CALLS, LOOK_AT_APPROVALS, LOOK_AT_APPROVALS]
    assert names(played)[3:] == [*looked, unsure, *looked, MODEL_STEP, FINISH_TASK]
    assert settled(played) == [[1], [0]]
