"""Arguments of tool calls, as models write them."""

import json


def canonical(arguments: str) -> str:
    """Write arguments so that the same ones read the same, however the model spaced and ordered them."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return arguments


def is_object(arguments: str) -> bool:
    """Whether arguments are a JSON object, or blank, as some models write none."""
    try:
        return isinstance(json.loads(arguments.strip() or "{}"), dict)
    except (ValueError, RecursionError):
        return False
