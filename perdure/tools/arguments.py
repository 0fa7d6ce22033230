"""A model's arguments: from the JSON text it wrote to values the function takes, or a sentence it can learn from.

The text is read twice on purpose. `json` finds what pydantic would let pass in silence (a key written twice, NaN) and
what it would refuse without saying where (lone surrogates, nesting); pydantic's own JSON mode then validates strictly
what JSON can say, so that "5" is no number but "2026-01-31" is a date.
"""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from perdure.tools.schema import FIELD_PREFIX
from perdure.tools.tool import Tool, ToolError

MAX_CHARACTERS = 1024 * 1024
"""More than any current model writes in one reply (128,000 tokens are about half of it)."""

MAX_DEPTH = 64
"""Far deeper than any schema a person writes; pydantic's parser itself stops at 200."""

MAX_PROBLEMS = 8
"""Problems told at once: enough to repair a call in one go, few enough to read."""


def read_arguments(tool: Tool, text: str) -> dict[str, Any]:
    """Parse and validate the arguments of one call; parameters left out are absent, so the function's defaults apply.

    Args:
        tool: The tool they are for.
        text: JSON exactly as the model wrote it. Blank text counts as `{}`: some models write nothing for a tool
            that takes nothing.

    Raises:
        ToolError: They do not fit; the message names each problem and its place.
    """
    source = text.strip() or "{}"
    given = _parsed(tool.name, source)
    try:
        model = tool.arguments.model_validate_json(source, strict=True)
    except ValidationError as error:
        known = cast("list[str]", list(tool.parameters["properties"]))
        # A union reports one problem per member; told once is enough.
        problems = list(dict.fromkeys(_problem(detail, given, known) for detail in error.errors(include_url=False)))
        told = "; ".join(problems[:MAX_PROBLEMS])
        more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise ToolError(f"The arguments of {tool.name} do not fit its parameters: {told}{more}.") from error
    return {name.removeprefix(FIELD_PREFIX): getattr(model, name) for name in model.model_fields_set}


def _parsed(name: str, text: str) -> Mapping[str, Any]:
    refused = f"The arguments of {name} are not"
    if len(text) > MAX_CHARACTERS:
        raise ToolError(f"{refused} accepted: {len(text)} characters are more than {MAX_CHARACTERS}; send less.")
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise ToolError(f"{refused} valid JSON: {error.msg} at {place}; send one JSON object.") from error
    except RecursionError as error:
        raise ToolError(f"{refused} accepted: they are nested deeper than {MAX_DEPTH} levels; flatten them.") from error
    except ValueError as error:
        raise ToolError(f"{refused} valid JSON: {error}; send one JSON object.") from error
    _check_values(refused, value)
    if not isinstance(value, dict):
        raise ToolError(f'{refused} a JSON object but {_json_type(value)}; send an object such as {{"name": "value"}}.')
    return cast("dict[str, Any]", value)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for key, value in pairs:
        if key in named:
            raise ValueError(f"the key {_short(key)} is written twice, write it once")
        named[key] = value
    return named


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number, write a finite number or null")


def _check_values(refused: str, value: Any) -> None:
    """Refuse too deep nesting and text that is not Unicode, without recursion of our own."""
    level = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _check_text(refused, item)
            elif isinstance(item, dict):
                members = cast("dict[str, Any]", item)
                deeper += [*members, *members.values()]
            elif isinstance(item, list):
                deeper += cast("list[Any]", item)
        if not deeper:
            return
        level = deeper
    raise ToolError(f"{refused} accepted: they are nested deeper than {MAX_DEPTH} levels; flatten them.")


def _check_text(refused: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = f"\\u{ord(text[error.start]):04x}"
        raise ToolError(
            f"{refused} valid Unicode: {code} is half of a character; write the whole character."
        ) from error


def _problem(detail: ErrorDetails, given: Mapping[str, Any], known: Sequence[str]) -> str:
    path = _path(detail["loc"], given)
    match detail["type"]:
        case "missing":
            return f"{_joined(path, str(detail['loc'][-1]))} is missing"
        case "extra_forbidden" if len(detail["loc"]) == 1:
            near = get_close_matches(str(detail["loc"][0]), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"
            return f"{path} is no parameter ({hint})"
        case _:
            message = detail["msg"].removeprefix("Value error, ")
            return f"{path}: {message[:1].lower()}{message[1:]}, not {_short(detail['input'])}"


def _path(location: Sequence[int | str], given: Any) -> str:
    """Follow the location as far as it leads through what was given: pydantic adds names of types that are no place."""
    path = ""
    for part in location:
        if isinstance(given, dict) and part in given:
            path, given = _joined(path, str(part)), cast("dict[Any, Any]", given)[part]
        elif isinstance(given, list) and isinstance(part, int) and part < len(cast("list[Any]", given)):
            path, given = f"{path}[{part}]", cast("list[Any]", given)[part]
    return path


def _joined(path: str, name: str) -> str:
    readable = name if len(name) <= 60 else name[:60] + "…"
    return f"{path}.{readable}" if path else readable


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:60] + "…"


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case _:
            return "an array"
