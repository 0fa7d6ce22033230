"""What schemathesis cannot know from the OpenAPI document: which agents, assets and cursors there are, which
keys were used."""

import itertools
import re
from typing import Any

import schemathesis

KEY = re.compile(r'("[ !#-~]{1,255}"|[!#-~]{1,255})')
numbers = itertools.count()
AGENTS = ("assistant", "researcher")
ASSETS = ("swagger-ui.css", "start.js", "nothing")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Let requests name what exists, and use no key twice."""
    if isinstance(case.body, dict) and isinstance(agent := case.body.get("agent"), str) and 1 <= len(agent) <= 64:
        case.body["agent"] = AGENTS[len(agent) % len(AGENTS)]
    if KEY.fullmatch((case.headers or {}).get("Idempotency-Key", "")):
        case.headers["Idempotency-Key"] = f"key-{next(numbers)}"
    (case.query or {}).pop("cursor", None)
    if isinstance(asset := case.path_parameters.get("asset"), str) and asset:
        case.path_parameters["asset"] = ASSETS[len(asset) % len(ASSETS)]
