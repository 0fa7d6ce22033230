"""The decision table of the loop."""

from datetime import datetime, timedelta

import pytest

from perdure.domain.next_step import (
    MAX_DELAY,
    CallTools,
    Decision,
    Finish,
    StepOutcome,
    Wait,
    decide,
)
from perdure.domain.references import Run
from perdure.domain.task import Reason

CALLS = ((0, "a"), (2, "b"))


NOW = datetime.fromisoformat("2029-01-01T00:00:00")
SINCE = "2028-12-31T23:59:00"
"""A minute before."""


def run(step: int = 1, failures: int = 0, outage: str | None = None, **fields: object) -> Run:
    deadline = str(fields.get("deadline", "2030-01-01T00:00:00+00:00"))
    return Run("tenant", "task", deadline, max_steps=3, step=step, failures=failures, outage=outage)


def wait(seconds: float, failures: int) -> Wait:
    """A wait in an outage that begins now."""
    return Wait(seconds, failures, NOW.isoformat())


@pytest.mark.parametrize(
    ("outcome", "at", "decision"),
    [
        (StepOutcome("answer"), run(), Finish(Reason.ANSWERED)),
        (StepOutcome("answer"), run(step=3), Finish(Reason.ANSWERED)),
        (StepOutcome("calls", CALLS), run(step=2), CallTools(CALLS)),
        (StepOutcome("calls", ()), run(), CallTools(())),
        (StepOutcome("calls", CALLS), run(step=3), Finish(Reason.STEP_LIMIT, "No answer within 3 steps.")),
        (StepOutcome("rejected", detail="bad key"), run(), Finish(Reason.MODEL_REJECTED, "bad key")),
        (StepOutcome("budget_exceeded", detail="used"), run(), Finish(Reason.BUDGET_EXCEEDED, "used")),
        (StepOutcome("ended"), run(), Finish(Reason.CANCELLED)),
        (StepOutcome("unavailable"), run(), wait(1.0, 1)),
        (StepOutcome("unavailable"), run(failures=3), wait(8.0, 4)),
        (StepOutcome("unavailable"), run(failures=100_000), wait(MAX_DELAY, 100_001)),
        (StepOutcome("unavailable"), run(failures=3, outage=SINCE), Wait(8.0, 4, SINCE)),
        (StepOutcome("unavailable", retry_after=0.0), run(failures=3), wait(8.0, 4)),
        (StepOutcome("unavailable", retry_after=20.5), run(failures=3), wait(20.5, 4)),
        (StepOutcome("unavailable", retry_after=1e9), run(), wait(MAX_DELAY, 1)),
        (StepOutcome("interrupted"), run(), wait(0.0, 1)),
        (StepOutcome("interrupted", retry_after=3.0), run(), wait(3.0, 1)),
        (StepOutcome("interrupted"), run(failures=1), wait(2.0, 2)),
        (StepOutcome("down", retry_after=12.5), run(failures=4), wait(12.5, 4)),
        (StepOutcome("down", retry_after=0.1), run(failures=4, outage=SINCE), Wait(1.0, 4, SINCE)),
        (StepOutcome("limited", retry_after=42.5), run(failures=6), Wait(42.5, 6)),
        (StepOutcome("limited", retry_after=0.0), run(outage=SINCE), Wait(1.0, 0, SINCE)),
        (StepOutcome("empty"), run(), CallTools(())),
    ],
)
def test_each_outcome_has_one_decision(outcome: StepOutcome, at: Run, decision: Decision) -> None:
    assert decide(outcome, at, NOW) == decision


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty_reply", Reason.EMPTY_REPLY),
        ("invalid_output", Reason.INVALID_OUTPUT),
        ("repetition", Reason.REPETITION),
    ],
)
def test_output_that_leads_nowhere_ends_a_task_with_its_own_reason(kind: str, reason: Reason) -> None:
    decision = decide(StepOutcome(kind), run(), NOW)  # pyright: ignore[reportArgumentType] - one of the literals
    assert isinstance(decision, Finish)
    assert decision.reason is reason
    assert decision.detail


def test_a_model_that_says_nothing_in_the_last_step_is_not_told_of_it() -> None:
    decision = decide(StepOutcome("empty"), run(step=3), NOW)
    assert isinstance(decision, Finish)
    assert decision.reason is Reason.EMPTY_REPLY


@pytest.mark.parametrize("kind", ["unavailable", "interrupted", "down"])
def test_an_outage_is_waited_out_as_long_as_the_agent_says_and_no_wait_is_begun_that_outlasts_that(kind: str) -> None:
    outcome = StepOutcome(kind, retry_after=60.0, detail="x")  # pyright: ignore[reportArgumentType] - as above
    begun = NOW - timedelta(seconds=239)
    assert decide(outcome, run(outage=begun.isoformat()), NOW) == Wait(60.0, kind != "down", begun.isoformat())
    begun = NOW - timedelta(seconds=240)
    assert decide(outcome, run(outage=begun.isoformat()), NOW) == Finish(Reason.DEGRADED, "x")


def test_no_wait_is_begun_that_the_tasks_time_limit_would_end() -> None:
    outcome = StepOutcome("unavailable", retry_after=60.0, detail="x")
    assert decide(outcome, run(deadline="2029-01-01T00:00:59+00:00"), NOW) == Finish(Reason.DEGRADED, "x")
    assert decide(outcome, run(deadline="2029-01-01T00:01:01+00:00"), NOW) == wait(60.0, 1)


@pytest.mark.parametrize(
    "outcome",
    [StepOutcome("calls", CALLS), StepOutcome("unavailable", retry_after=2.5, detail="x"), StepOutcome("ended")],
)
def test_an_outcome_survives_the_durable_boundary(outcome: StepOutcome) -> None:
    assert StepOutcome.from_dict(outcome.to_dict()) == outcome


def test_a_run_survives_the_durable_boundary_and_counts_on() -> None:
    there = Run.from_dict(run(step=2, failures=1, outage=SINCE).to_dict())
    assert there == run(step=2, failures=1, outage=SINCE)
    assert there.step_ref.waiting
    assert there.next_step() == run(step=3)
    assert there.same_step_again(2, None) == run(step=2, failures=2)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_ends_a_task(reason: Reason) -> None:
    assert reason.status.value in ("completed", "failed", "cancelled")
