"""Putting plans and results into sentences."""

import json
from collections.abc import Sequence
from typing import Any, cast

from perdure.domain.messages import ToolSpec
from perdure.models.offline.plan import Planned

STAND_IN = (
    "I am Perdure's rule-based stand-in, not a language model: I match words to tools. "
    "Configure a model endpoint for real answers."
)
LONGEST_RESULT, LONGEST_REQUEST, MOST_LISTED = 1500, 120, 10
"""Characters of a result and of a request that are repeated, and items of a list."""


SUMMARY_CHARACTERS = 1200
"""Longest summary; about 200 words."""


def announce(calls: Sequence[Planned], others: Sequence[Planned]) -> str:
    """The thought beside tool calls."""
    parts = [f"{one.tool} for “{_short(one.request)}”" for one in calls]
    later = f" {len(others)} of the requests cannot be met; I say why at the end." if others else ""
    return f"I call {'; '.join(parts)}.{later}"


def decline(planned: Sequence[Planned], tools: Sequence[ToolSpec]) -> str:
    """The answer when nothing can be called."""
    lines = [_unmet(one) for one in planned[:MOST_LISTED]] or ["There is no request in this message."]
    return "\n".join([*lines, _abilities(tools), STAND_IN])


def conclude(outcomes: Sequence[tuple[str, str]], unmet: Sequence[Planned]) -> str:
    """The answer from results: each request with what its tool returned, then what could not be met."""
    lines = [f"- {_short(request)} → {_result(content)}" for request, content in outcomes]
    lines += [f"- {_unmet(one)}" for one in unmet[:MOST_LISTED]]
    return "\n".join([*lines, STAND_IN])


def _unmet(one: Planned) -> str:
    if one.tool:
        return f"For “{_short(one.request)}” I would call {one.tool}, but I cannot find: {', '.join(one.missing)}."
    return f"I have no tool for “{_short(one.request)}”."


def _abilities(tools: Sequence[ToolSpec]) -> str:
    if not tools:
        return "I have no tools here, and without tools I can do nothing."
    listed = [f"- {tool.name}: {_short(tool.description.strip().split('\n')[0])}" for tool in tools]
    return "\n".join(["What I can do:", *listed])


def _result(content: str) -> str:
    match value := _parsed(content):
        case {"error": error} if error:
            return f"this failed: {_shown(error)}"
        case _:
            pass
    text = _shown(value) or "(nothing)"
    if text.lower().startswith("error"):
        return f"this failed: {text}"
    return text if len(text) <= LONGEST_RESULT else f"{text[:LONGEST_RESULT]}… ({len(text)} characters in all)"


def _parsed(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content


def _shown(value: object) -> str:
    match value:
        case str():
            return value.strip()
        case dict():
            items = list(cast("dict[str, object]", value).items())
            if len(items) == 1:
                return _shown(items[0][1])
            return ", ".join(f"{name.replace('_', ' ')}: {_shown(item)}" for name, item in items)
        case list():
            rows = cast("list[object]", value)
            more = f"\n  … and {len(rows) - MOST_LISTED} more" if len(rows) > MOST_LISTED else ""
            return "".join(f"\n  - {_shown(row)}" for row in rows[:MOST_LISTED]) + more
        case _:
            return json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    line = " ".join(text[: LONGEST_REQUEST * 4].split())
    return line if len(line) <= LONGEST_REQUEST else f"{line[:LONGEST_REQUEST]}…"


def excerpt(told: str) -> str:
    """Stand in for a summary: the beginning of what the user said, the newest of it within SUMMARY_CHARACTERS."""
    earlier, _, since = told.partition("\n\nMessages since then:\n")
    kept = [line for line in earlier.splitlines()[1:] if line != "(none)"]
    kept += [f"The user said: {line[6:126]}" for line in since.splitlines() if line.startswith("user: ")]
    while kept and len("\n".join(kept)) > SUMMARY_CHARACTERS:
        kept.pop(0)
    return "\n".join(kept)
