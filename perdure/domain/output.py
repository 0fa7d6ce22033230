"""Output of a model that leads nowhere: told to the model a few times, and then the end of the task.

A step is of no use when it says nothing at all, or when none of its calls can be run: they name tools that are not
there, or their arguments are no JSON. It repeats the one before when it asks for exactly the same calls, and they came
to exactly the same results; a call whose result changes, as of a job that is looked at until it is done, is none.

A step that asks for at least one new thing that can be run starts both counts anew.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from perdure.domain.arguments import canonical, is_object
from perdure.domain.task import Step, TaskRecord

USELESS = 3
"""Steps of no use in a row that end a task. The model is told of those before."""

RUN, TOLD = 3, 2
"""How often the same calls with the same results are run in a row, and how often the model is told after that that they
are not run again. One time more ends the task."""

EMPTY = "Your last reply was empty. Answer the question, or call a tool."
"""What the model is told after a step that said nothing."""

REPEATED = (
    f"Not run: you made exactly these calls in each of your last {RUN} turns, and they had the same results each time. "
    "Use those results, or do something else."
)
"""What the model is told of calls that are not run again."""

NOT_RUN = "The task ended before this call was run, so it was not run."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a step.

    Attributes:
        ends: Why it ends the task; None when it does not.
        refusal: What its calls come to instead of being run; None when they are run.
    """

    ends: Literal["empty_reply", "invalid_output", "repetition"] | None = None
    refusal: str | None = None


def judge(record: TaskRecord, step: Step, tools: Collection[str]) -> Verdict:
    """Look at a step before its calls are run.

    Args:
        record: The task with the steps before it, at least.
        tools: The tools that the model was offered.
    """
    before = [earlier for earlier in record.steps if earlier.number < step.number]
    if is_useless(step, tools):
        in_a_row = 1
        while in_a_row <= len(before) and is_useless(before[-in_a_row], tools):
            in_a_row += 1
        if in_a_row < USELESS:
            return Verdict()
        return Verdict("invalid_output" if step.calls else "empty_reply", NOT_RUN)
    times = 1 + _repeated(record, before, step)
    if times > RUN + TOLD:
        return Verdict("repetition", NOT_RUN)
    return Verdict(refusal=REPEATED if times > RUN else None)


def is_useless(step: Step, tools: Collection[str]) -> bool:
    """Whether a step says nothing, or asks only for calls that cannot be run."""
    if not step.calls:
        return is_empty(step)
    return not any(call.name in tools and is_object(call.arguments) for call in step.calls)


def is_empty(step: Step) -> bool:
    """Whether a step has neither text nor calls."""
    return not step.calls and not step.text.strip()


def _repeated(record: TaskRecord, before: list[Step], step: Step) -> int:
    """How many steps right before this one asked for the same calls and had the same results."""
    if not step.calls:
        return 0
    results: dict[int, list[str | None]] = {}
    for call in record.calls:
        results.setdefault(call.step, []).append(call.content)
    same: list[str | None] | None = None
    for times, earlier in enumerate(reversed(before)):
        found = results.get(earlier.number, [])
        if _asked(earlier) != _asked(step):
            return times
        if REPEATED in found:
            continue
        if same is not None and found != same:
            return times
        same = found
    return len(before)


def _asked(step: Step) -> list[tuple[str, str]]:
    return [(call.name, canonical(call.arguments)) for call in step.calls]
