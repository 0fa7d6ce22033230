"""The orchestrator and the agents that it asks, on a real task hub, the agents swapped as activities are."""

from datetime import datetime, timedelta

import pytest

from perdure.domain.names import AGENT_TASK, CANCEL, FINISH_TASK, MODEL_STEP, SETTLE_CALLS
from tests.durable.agent_recording import SCENARIOS, play
from tests.durable.recording import Json, Played
from tests.durable.test_agent_task import actions, end, names, settled


def test_agents_are_asked_beside_the_tools_of_the_turn_and_the_next_step_waits_for_all() -> None:
    played = play(SCENARIOS["asks_agents_beside_tools"])
    [_, second, *_] = played.generations[0]
    kinds = [next(kind for kind in action if kind != "id") for action in second.actions]
    assert kinds == ["createSubOrchestration"] * 2 + ["scheduleTask"] * 2 + ["createTimer"]
    assert [action["createSubOrchestration"]["instanceId"] for action in second.actions[:2]] == ["asked-0", "asked-1"]
    assert names(played)[-3:] == [SETTLE_CALLS, MODEL_STEP, FINISH_TASK]
    assert end(played) == ("answered", None)


def asked_run(played: Played) -> Json:
    return next(reference for name, reference in played.activities if name == AGENT_TASK)


def test_an_asked_agent_has_no_more_time_than_the_one_that_asks_and_keeps_the_thread_for_it() -> None:
    played = play(SCENARIOS["does_not_count_the_time_that_agents_wait_for_people"])
    own = datetime.fromisoformat(actions(played, "createTimer")[0]["fireAt"]).replace(tzinfo=None)
    assert datetime.fromisoformat(asked_run(played)["deadline"]).replace(tzinfo=None) == own
    run = asked_run(play(SCENARIOS["asks_an_agent_in_a_thread"]))
    assert (run["root"], run["thread"], run["joined"]) == ("task", "thread", True)


def test_the_time_limit_moves_by_the_longest_wait_for_a_person() -> None:
    played = play(SCENARIOS["does_not_count_the_time_that_agents_wait_for_people"])
    assert end(played) == ("answered", None)
    first, second = (datetime.fromisoformat(action["fireAt"]) for action in actions(played, "createTimer"))
    assert second - first == timedelta(seconds=70.5)


def test_nothing_more_is_begun_when_the_time_was_over_while_an_agent_was_asked() -> None:
    played = play(SCENARIOS["reaches_the_time_limit_while_an_agent_is_asked"])
    assert end(played)[0] == "time_limit"


def test_an_agent_that_did_not_say_how_it_ended_is_settled_and_no_other() -> None:
    played = play(SCENARIOS["settles_an_agent_that_did_not_say_how_it_ended"])
    assert settled(played) == [[0]]
    assert end(played) == ("answered", None)


@pytest.mark.parametrize(
    ("scenario", "told"),
    [
        ("is_cancelled_while_agents_are_asked", ["asked-1"]),
        ("is_cancelled_while_a_tool_runs_beside_an_agent", ["asked-0"]),
    ],
)
def test_a_cancellation_reaches_the_agents_that_still_run(scenario: str, told: list[str]) -> None:
    played = play(SCENARIOS[scenario])
    assert end(played)[0] == "cancelled"
    sent = actions(played, "sendEvent")
    assert [event["instance"]["instanceId"] for event in sent] == told
    assert {event["name"] for event in sent} == {CANCEL}


def test_an_agent_that_cannot_be_settled_ends_the_task() -> None:
    assert end(play(SCENARIOS["cannot_settle_an_agent"]))[0] == "internal_error"
