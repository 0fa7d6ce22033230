"""An honest partial answer: what a task has when its model does not come back."""

from perdure.domain.task import CallState, LedgerEntry, TaskRecord

PARTIAL = "[Partial: the model became unavailable before it answered. This is what there was until then.]"

LONGEST_RESULT = 1000
"""Most characters of one tool result. All of it is in the task's tool calls."""

LONGEST = 8000
"""Most characters of all results; the newest count."""


def partial_answer(record: TaskRecord) -> str | None:
    """What the model wrote last and what its tools found, in words that claim no more; None when there is neither."""
    text = last_text(record)
    found = _results([call for call in record.calls if call.state is CallState.COMMITTED and call.content])
    if text is None and not found:
        return None
    parts = [PARTIAL, text or "", "Results of tools:\n" + "\n".join(found) if found else ""]
    return "\n\n".join(filter(None, parts))


def last_text(record: TaskRecord) -> str | None:
    """What the model wrote last; None when it wrote nothing."""
    return next((step.text for step in reversed(record.steps) if step.text.strip()), None)


def _results(calls: list[LedgerEntry]) -> list[str]:
    lines: list[str] = []
    left = LONGEST
    for call in reversed(calls):
        content = call.content or ""
        told = content if len(content) <= LONGEST_RESULT else content[:LONGEST_RESULT] + "…"
        line = f"- {call.tool} {call.arguments[:LONGEST_RESULT]}: {told}"
        if (left := left - len(line)) < 0:
            break
        lines.append(line)
    return lines[::-1]
