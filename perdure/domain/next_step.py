"""The decision at the heart of the loop: given what a model step came to, what happens next.

Pure and total, so that a replay always decides the same, and so that every branch is a unit test.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from perdure.domain.references import Ask, Run
from perdure.domain.task import Reason

FIRST_DELAY = 1.0
"""Least seconds before the second attempt, doubled for each further one; a provider may ask for more."""

PATIENCE, PATIENCE_WITH_THREAD = 600.0, 60.0
"""Longest seconds between two looks at approvals that are waited for, in case nobody tells of a decision. With a thread
each look renews the lease, which must not run out."""

MAX_DELAY = 120.0
"""Longest wait in seconds that a provider may impose between two attempts. It is shorter than a thread's lease, which a
task would lose in a longer one."""


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What one model step came to, as the `model_step` activity reports it. Small enough for durable history.

    Attributes:
        kind: `calls`: the model asked for tools. `answer`: it answered. `empty`: it said nothing at all, and is told.
            `empty_reply`, `invalid_output`, `repetition`: it was told often enough. `unavailable`: it may answer later.
            `interrupted`: it may answer at once. `down`: it was not asked, for it failed too often. `limited`: it was
            not asked, for a limit of ours that passes. `rejected`: it never will answer. `budget_exceeded`: nothing is
            left to pay it with. `ended`: the task had ended already. `lease_lost`: another task writes the thread by
            now.
        calls: For `calls`: the index and tool of every call to run. Calls that cannot run (an unknown tool) are
            settled already and not listed.
        awaiting: For `calls`: how many more wait for a person's approval.
        timeout: For `calls`: the longest time-out of a call to run, in seconds.
        asks: For `calls`: the other agents to ask.
        elsewhere: Steps that other agents have taken for the task.
        retry_after: For `unavailable` and `interrupted`: seconds the provider asks for. For `down`: seconds until the
            model may be looked at again. For `limited`: seconds until the limit passes.
        detail: For those that end the task or may: one sentence for the caller.
    """

    kind: Literal[
        "calls",
        "answer",
        "empty",
        "empty_reply",
        "invalid_output",
        "repetition",
        "unavailable",
        "interrupted",
        "down",
        "limited",
        "rejected",
        "budget_exceeded",
        "ended",
        "lease_lost",
    ]
    calls: tuple[tuple[int, str], ...] = ()
    retry_after: float | None = None
    detail: str | None = None
    awaiting: int = 0
    timeout: float = 0.0
    asks: tuple[Ask, ...] = ()
    elsewhere: int = 0

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "StepOutcome":
        parsed: dict[str, Any] = {"calls": _calls(data["calls"]), "asks": tuple(Ask(**ask) for ask in data["asks"])}
        return cls(**data | parsed)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a step's approvals came to, as the `look_at_approvals` activity reports it.

    Attributes:
        calls: The index and tool of every call that was approved, or is to be run again, and has not run.
        expires: Seconds until the first of those that wait expires; None when nothing waits any more.
        ended: Why the task does not go on: it had `ended` already, or its `lease_lost`.
        timeout: The longest time-out of a call to run, in seconds.
    """

    calls: tuple[tuple[int, str], ...] = ()
    expires: float | None = None
    ended: Literal["ended", "lease_lost"] | None = None
    timeout: float = 0.0

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Look":
        return cls(_calls(data["calls"]), data["expires"], data["ended"], data["timeout"])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of calls that were given up, as the `settle_calls` activity reports it.

    Attributes:
        awaiting: Whether a person is asked about some of them.
        again: Seconds until none of those that have no outcome yet can be at work any more; None when all have one.
    """

    awaiting: bool = False
    again: float | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Settled":
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CallTools:
    """Run these calls side by side, none of which may take longer than `timeout` seconds, and ask these agents; then
    wait for people to decide, or take the next step."""

    calls: tuple[tuple[int, str], ...]
    awaiting: bool = False
    timeout: float = 0.0
    asks: tuple[Ask, ...] = ()


@dataclass(frozen=True, slots=True)
class AskApproval:
    """Wait for a person's decision, and look again after this many seconds in any case."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask the model again after this many seconds; at once for 0.

    Attributes:
        failures: How often in a row it was asked in vain by then.
        outage: Since when it has been unavailable, if it is.
    """

    seconds: float
    failures: int
    outage: str | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """End the task."""

    reason: Reason
    detail: str | None = None


type Decision = CallTools | Wait | Finish


def decide(outcome: StepOutcome, run: Run, now: datetime) -> Decision:
    """Say what follows a model step.

    Args:
        now: Naive, in UTC, as the orchestration's clock has it.
    """
    taken = run.step + outcome.elsewhere
    match outcome.kind:
        case "answer":
            return Finish(Reason.ANSWERED)
        case "calls" if taken >= run.max_steps:
            return Finish(Reason.STEP_LIMIT, f"No answer within {run.max_steps} steps.")
        case "calls":
            return CallTools(outcome.calls, outcome.awaiting > 0, outcome.timeout, outcome.asks)
        case "empty" if taken < run.max_steps:
            return CallTools(())
        case "empty" | "empty_reply":
            return Finish(Reason.EMPTY_REPLY, "The model answered with neither text nor tool calls.")
        case "invalid_output":
            return Finish(Reason.INVALID_OUTPUT, "The model kept asking for calls that cannot be run.")
        case "repetition":
            return Finish(Reason.REPETITION, "The model kept making the same calls, with the same results.")
        case "unavailable" | "interrupted" | "down":
            return _wait_for_model(outcome, run, now)
        case "limited":
            return Wait(min(max(FIRST_DELAY, outcome.retry_after or 0.0), MAX_DELAY), run.failures, run.outage)
        case "rejected":
            return Finish(Reason.MODEL_REJECTED, outcome.detail)
        case "budget_exceeded":
            return Finish(Reason.BUDGET_EXCEEDED, outcome.detail)
        case "lease_lost" | "ended":
            return _stopped(outcome.kind)


def decide_on_look(look: Look, run: Run) -> CallTools | AskApproval | Finish:
    """Say what follows a look at a step's approvals."""
    if look.ended is not None:
        return _stopped(look.ended)
    if look.calls or look.expires is None:
        return CallTools(look.calls, look.expires is not None, look.timeout)
    patience = PATIENCE_WITH_THREAD if run.thread else PATIENCE
    # A second more than until it expires: then it has.
    return AskApproval(min(look.expires + 1.0, patience))


def _stopped(why: Literal["ended", "lease_lost"]) -> Finish:
    if why == "lease_lost":
        return Finish(Reason.LEASE_LOST, "The task stood still for so long that its thread was given to another.")
    # Whatever ended it stands; what is left is to leave its thread and to tell the status URL.
    return Finish(Reason.CANCELLED)


def _calls(pairs: Iterable[Sequence[Any]]) -> tuple[tuple[int, str], ...]:
    return tuple((int(index), str(tool)) for index, tool in pairs)


def _wait_for_model(outcome: StepOutcome, run: Run, now: datetime) -> Wait | Finish:
    asked = outcome.retry_after or 0.0
    if outcome.kind == "down":
        seconds, failures = max(FIRST_DELAY, asked), run.failures
    elif outcome.kind == "interrupted" and not run.failures:
        seconds, failures = asked, 1
    else:
        # Bounded before it is a power: an outage may be long.
        seconds, failures = max(FIRST_DELAY * 2 ** min(run.failures, 10), asked), run.failures + 1
    seconds = min(seconds, MAX_DELAY)
    if now + timedelta(seconds=seconds) >= run.gives_up_at(now):
        # There would be nothing left to do after that wait.
        return Finish(Reason.DEGRADED, outcome.detail)
    return Wait(seconds, failures, run.outage or now.isoformat())
