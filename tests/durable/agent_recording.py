"""The scenarios of the agent task, and how `recording` plays them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orchestrators.agent_task import agent_task
from perdure.domain.names import (
    AGENT_TASK,
    APPROVAL,
    CANCEL,
    FINISH_TASK,
    JOIN_THREAD,
    LOOK_AT_APPROVALS,
    MODEL_STEP,
    SETTLE_CALLS,
    TURN,
    tool_activity,
)
from perdure.domain.next_step import Look, Settled, StepOutcome
from perdure.domain.references import Ask, CallRef, CallsRef, Closing, Run, StepRef
from tests.durable import recording
from tests.durable.recording import INSTANCE, Fault, Json, Outside, Played, Silence

FAR = "2100-01-01T00:00:00+00:00"
PAST = "2020-01-01T00:00:00+00:00"
SOON = timedelta(seconds=50)
NONE = timedelta(0)
SLOW = 10_000.0
"""Seconds that a tool may take which no test waits for: longer than any timer that fires."""


def calls(*tools: str, awaiting: int = 0, timeout: float = SLOW) -> StepOutcome:
    return StepOutcome("calls", tuple(enumerate(tools)), awaiting=awaiting, timeout=timeout)


def asks(*calls_beside: str, agents: int = 1) -> StepOutcome:
    beside = len(calls_beside)
    asked = tuple(Ask(beside + n, f"asked-{n}", 9, 600.0, 300.0) for n in range(agents))
    return StepOutcome("calls", tuple(enumerate(calls_beside)), timeout=SLOW, asks=asked)


ANSWER = StepOutcome("answer")
ASKS = calls(awaiting=1)
WAITING, APPROVED = Look(expires=5000.0), Look(((0, "good"),), timeout=SLOW)
RETRY = Look(((0, "unsure"),), timeout=SLOW)
DOWN = StepOutcome("down", retry_after=12.5, detail="down")
BROKEN = Fault("broken")


@dataclass(frozen=True, slots=True)
class Scenario(Outside):
    """What is reported to the orchestrator, and what comes from outside.

    Attributes:
        outcomes: What the model step reports, step by step; the last report is repeated.
        settled: What settling calls comes to, likewise.
        looks: What a look at the approvals comes to, likewise.
        pauses: For agents that are asked: for how many seconds they waited for people, likewise.
        joins: For a task of a thread: what the joining activity reports, likewise.
        next_writer: The task that the end of this one hands the thread to.
        deadline: An instant, or how long after the start it comes.
    """

    outcomes: Sequence[StepOutcome | Fault] = (ANSWER,)
    joins: Sequence[bool | Fault] = ()
    settled: Sequence[Settled | Fault] = (Settled(),)
    looks: Sequence[Look | Fault] = (Look(),)
    pauses: Sequence[float | Fault | Silence] = (0.0,)
    next_writer: str | None = None
    deadline: str | timedelta = FAR
    max_steps: int = 50
    outage_seconds: float = 300.0


SCENARIOS = {
    "answers_at_once": Scenario(),
    "answers_after_tools": Scenario([calls("good", "bad", "good"), calls("good"), ANSWER]),
    "goes_on_when_no_call_can_run": Scenario([calls(), ANSWER]),
    "continues_as_new": Scenario([*[calls("good")] * 22, ANSWER]),
    # Turn 21 continues as new; the event comes when it is too late to decide otherwise.
    "is_cancelled_as_a_generation_ends": Scenario([*[calls("good")] * 12, ANSWER], raised_with={21: CANCEL}),
    "reaches_the_step_limit": Scenario([calls("good")], max_steps=3),
    "reaches_the_time_limit": Scenario([calls("slow"), ANSWER], deadline=PAST),
    "is_cancelled_during_a_tool": Scenario([calls("good"), ANSWER], raised_in={tool_activity("good"): CANCEL}),
    "waits_for_the_model": Scenario(
        [StepOutcome("unavailable", retry_after=0.1), StepOutcome("unavailable", retry_after=7.0), ANSWER]
    ),
    "waits_for_a_limit_to_pass": Scenario(
        [StepOutcome("unavailable"), *[StepOutcome("limited", retry_after=30.0)] * 12, ANSWER]
    ),
    # Waits of 1, 2 and 4 s; another of 8 s would last too long.
    "gives_up_on_the_model": Scenario([calls("good"), StepOutcome("unavailable", detail="no")], outage_seconds=7.5),
    "gives_up_on_the_model_before_the_time_limit": Scenario(
        [StepOutcome("unavailable", detail="no", retry_after=60.0)], deadline=SOON, timers=NONE
    ),
    "asks_again_at_once_after_a_broken_exchange": Scenario([StepOutcome("interrupted"), ANSWER]),
    "waits_while_the_model_is_down": Scenario(
        [StepOutcome("unavailable"), *[StepOutcome("down", retry_after=12.5)] * 12, calls("good"), DOWN, ANSWER]
    ),
    "is_cancelled_while_the_model_is_down": Scenario([DOWN], timers=NONE, raised_after={2: CANCEL}),
    "tells_the_model_that_it_said_nothing": Scenario([StepOutcome("empty"), ANSWER]),
    "gets_nothing_but_invalid_output": Scenario([calls(), calls(), StepOutcome("invalid_output")]),
    "gets_the_same_calls_again_and_again": Scenario([calls("good"), calls(), StepOutcome("repetition")]),
    "is_rejected": Scenario([StepOutcome("rejected", detail="bad key")]),
    "exceeds_its_budget": Scenario([calls("good"), StepOutcome("budget_exceeded", detail="all is used")]),
    "gets_an_empty_reply": Scenario([StepOutcome("empty"), StepOutcome("empty_reply")]),
    "was_ended_by_somebody_else": Scenario([calls("good"), StepOutcome("ended")]),
    "loses_its_lease": Scenario([calls("good"), StepOutcome("lease_lost")], [True]),
    "fails_at_the_model_step": Scenario([BROKEN]),
    "joins_its_thread_at_once": Scenario(joins=[True]),
    "hands_its_thread_on": Scenario(joins=[True], next_writer="other"),
    # Turn 2 is the one that is told that it is not this task's turn yet, and begins to wait.
    "waits_for_its_thread_and_is_woken": Scenario(joins=[False, True], timers=NONE, raised_after={2: TURN}),
    "waits_for_its_thread_and_wakes_by_itself": Scenario(joins=[False, False, True]),
    "is_woken_before_it_waits": Scenario(joins=[False, True], raised_in={JOIN_THREAD: TURN}),
    "is_cancelled_while_it_waits_for_its_thread": Scenario(joins=[False], timers=NONE, raised_after={2: CANCEL}),
    "reaches_the_time_limit_while_it_waits_for_its_thread": Scenario(joins=[False], deadline=PAST, timers=NONE),
    "waits_for_its_thread_longer_than_a_generation": Scenario(joins=[*[False] * 12, True]),
    "cannot_join_its_thread": Scenario(joins=[BROKEN]),
    # Turn 3 is the one that is told that nobody has decided yet, and begins to wait.
    "runs_what_was_approved": Scenario(
        [ASKS, ANSWER], looks=[WAITING, APPROVED], timers=NONE, raised_after={3: APPROVAL}
    ),
    "runs_what_was_approved_while_more_waits": Scenario(
        [calls("good", awaiting=2), ANSWER],
        looks=[Look(((1, "good"),), 100.0, timeout=SLOW), Look(((2, "good"),), timeout=SLOW)],
        timers=NONE,
    ),
    "looks_for_decisions_by_itself": Scenario([ASKS, ANSWER], looks=[WAITING, Look(expires=2.5), Look()]),
    "looks_for_decisions_more_often_in_a_thread": Scenario([ASKS, ANSWER], [True], looks=[WAITING, Look()]),
    "is_told_of_a_decision_before_it_waits": Scenario(
        [ASKS, ANSWER], looks=[WAITING, Look()], timers=NONE, raised_in={LOOK_AT_APPROVALS: APPROVAL}
    ),
    "is_cancelled_while_it_waits_for_approval": Scenario(
        [ASKS], looks=[WAITING], timers=NONE, raised_after={3: CANCEL}
    ),
    "waits_for_approval_longer_than_a_generation": Scenario([ASKS, ANSWER], looks=[*[WAITING] * 12, APPROVED]),
    "ended_while_it_waited_for_approval": Scenario([ASKS], looks=[Look(ended="ended")]),
    "loses_its_lease_while_it_waits_for_approval": Scenario([ASKS], [True], looks=[Look(ended="lease_lost")]),
    "cannot_look_at_approvals": Scenario([ASKS], looks=[BROKEN]),
    "gives_up_a_call_of_which_nothing_is_heard": Scenario([calls("silent", timeout=30.0), ANSWER]),
    # Turn 3 is the one that is told of the call that ended.
    "waits_longer_while_calls_end": Scenario([calls("good", "silent", timeout=30.0), ANSWER], timers_after=3),
    "settles_what_failed_and_keeps_the_rest": Scenario([calls("good", "bad"), ANSWER]),
    "waits_for_a_call_that_may_still_be_at_work": Scenario(
        [calls("bad"), ANSWER], settled=[Settled(again=12.5), Settled()]
    ),
    "is_cancelled_while_it_settles": Scenario([calls("bad")], raised_in={SETTLE_CALLS: CANCEL}),
    "is_cancelled_while_a_call_may_be_at_work": Scenario(
        [calls("unsure")], settled=[Settled(again=12.5)], timers=NONE, raised_after={4: CANCEL}
    ),
    "cannot_settle_calls": Scenario([calls("bad")], settled=[BROKEN]),
    # Turn 5 is the one that is told that nobody has decided yet, and begins to wait.
    "asks_what_became_of_a_call": Scenario(
        [calls("unsure"), ANSWER],
        settled=[Settled(awaiting=True)],
        looks=[WAITING, Look()],
        timers=NONE,
        raised_after={5: APPROVAL},
    ),
    "runs_a_call_again_whose_outcome_was_unknown": Scenario(
        [calls("good", "unsure"), ANSWER],
        settled=[Settled(awaiting=True)],
        looks=[WAITING, RETRY, WAITING, Look()],
    ),
    "asks_agents_beside_tools": Scenario([asks("good", "bad", agents=2), ANSWER]),
    "asks_an_agent_in_a_thread": Scenario([asks(), ANSWER], [True]),
    "does_not_count_the_time_that_agents_wait_for_people": Scenario(
        [asks(agents=2), ANSWER], pauses=[70.5, 30.0], deadline=SOON, timers=NONE
    ),
    "reaches_the_time_limit_while_an_agent_is_asked": Scenario([asks()], deadline=PAST),
    "settles_an_agent_that_did_not_say_how_it_ended": Scenario([asks(agents=2), ANSWER], pauses=[BROKEN, 0.0]),
    # Turn 3 is the one that is told that the first has answered.
    "is_cancelled_while_agents_are_asked": Scenario(
        [asks(agents=2)], pauses=[0.0, Silence()], timers=NONE, raised_after={3: CANCEL}
    ),
    "is_cancelled_while_a_tool_runs_beside_an_agent": Scenario(
        [asks("good")], pauses=[Silence()], raised_in={tool_activity("good"): CANCEL}
    ),
    "cannot_settle_an_agent": Scenario([asks()], pauses=[BROKEN], settled=[BROKEN]),
}


def play(scenario: Scenario) -> Played:
    """Run a scenario from start to end."""
    thread = "thread" if scenario.joins else None
    until, longest = scenario.deadline, scenario.outage_seconds
    if isinstance(until, timedelta):
        until = (datetime.now(UTC) + until).isoformat()
    run = Run("tenant", INSTANCE, until, scenario.max_steps, thread=thread, outage_seconds=longest)
    return recording.play(agent_task, AGENT_TASK, run.to_dict(), Activities(scenario).run, scenario)


class Activities:
    """Stands in for every activity of a task, and reports what the scenario says."""

    def __init__(self, scenario: Scenario) -> None:
        self._outcomes = list(scenario.outcomes)
        self._joins = list(scenario.joins)
        self._settled = list(scenario.settled)
        self._looks = list(scenario.looks)
        self._pauses = list(scenario.pauses)
        self._next_writer = scenario.next_writer

    def run(self, name: str, reference: Json) -> Json:
        if name == MODEL_STEP:
            assert StepRef.from_dict(reference)
            return _next(self._outcomes).to_dict()
        if name == JOIN_THREAD:
            assert StepRef.from_dict(reference).thread == "thread"
            return {"joined": _next(self._joins)}
        if name == SETTLE_CALLS:
            assert CallsRef.from_dict(reference).calls
            return _next(self._settled).to_dict()
        if name == LOOK_AT_APPROVALS:
            assert StepRef.from_dict(reference)
            return _next(self._looks).to_dict()
        if name == FINISH_TASK:
            closing = Closing.from_dict(reference)
            output: Json = {"reason": closing.reason, "detail": closing.detail}
            return output | {"next_writer": self._next_writer} if self._next_writer else output
        if name == AGENT_TASK:
            assert Run.from_dict(reference).root == INSTANCE
            return {"paused": _next(self._pauses)}
        assert CallRef.from_dict(reference)
        if name == tool_activity("bad"):
            raise BROKEN
        if name == tool_activity("silent"):
            raise Silence
        return {"state": "unknown" if name == tool_activity("unsure") else "committed"}


def _next[T](reports: list[T | Fault | Silence]) -> T:
    report = reports.pop(0) if len(reports) > 1 else reports[0]
    if isinstance(report, Fault | Silence):
        raise report
    return report
