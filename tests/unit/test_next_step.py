"""The decision table of the loop."""

import pytest

from perdure.domain.next_step import (
    MAX_DELAY,
    MAX_FAILURES,
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


def run(step: int = 1, failures: int = 0) -> Run:
    return Run("tenant", "task", "2030-01-01T00:00:00+00:00", max_steps=3, step=step, failures=failures)


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
        (StepOutcome("unavailable"), run(), Wait(1.0, 1)),
        (StepOutcome("unavailable"), run(failures=3), Wait(8.0, 4)),
        (StepOutcome("unavailable", retry_after=0.0), run(failures=3), Wait(8.0, 4)),
        (StepOutcome("unavailable", retry_after=20.5), run(failures=3), Wait(20.5, 4)),
        (StepOutcome("unavailable", retry_after=1e9), run(), Wait(MAX_DELAY, 1)),
        (StepOutcome("limited", retry_after=42.5), run(failures=MAX_FAILURES), Wait(42.5, MAX_FAILURES)),
        (StepOutcome("limited", retry_after=0.0), run(), Wait(1.0, 0)),
        (StepOutcome("unavailable", detail="x"), run(failures=MAX_FAILURES - 1), Finish(Reason.MODEL_UNAVAILABLE, "x")),
    ],
)
def test_each_outcome_has_one_decision(outcome: StepOutcome, at: Run, decision: Decision) -> None:
    assert decide(outcome, at) == decision


def test_an_empty_reply_is_not_an_answer() -> None:
    decision = decide(StepOutcome("empty"), run())
    assert isinstance(decision, Finish)
    assert decision.reason is Reason.EMPTY_REPLY


@pytest.mark.parametrize(
    "outcome",
    [StepOutcome("calls", CALLS), StepOutcome("unavailable", retry_after=2.5, detail="x"), StepOutcome("ended")],
)
def test_an_outcome_survives_the_durable_boundary(outcome: StepOutcome) -> None:
    assert StepOutcome.from_dict(outcome.to_dict()) == outcome


def test_a_run_survives_the_durable_boundary_and_counts_on() -> None:
    there = Run.from_dict(run(step=2, failures=1).to_dict())
    assert there == run(step=2, failures=1)
    assert there.next_step() == run(step=3)
    assert there.same_step_again(2) == run(step=2, failures=2)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_ends_a_task(reason: Reason) -> None:
    assert reason.status.value in ("completed", "failed", "cancelled")
