"""From the bytes of a request to a checked model of it."""

import json
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from perdure.api.problems import Invalid, Malformed, TooLarge

MAX_BODY_BYTES = 256 * 1024
"""Largest request body. A question with its context fits; documents have a route of their own."""

MAX_ERRORS = 20
"""Most wrong fields that are named in one answer."""

MAX_LOAD_BYTES = 6 * 1024 * 1024
"""Largest request body with documents: one of 5 MB fits, with the escapes that JSON adds to it."""


async def read_json[M: BaseModel](request: Request, model: type[M], limit: int = MAX_BODY_BYTES) -> M:
    """Read a JSON body and check it.

    Raises:
        TooLarge: Over `limit` bytes.
        Malformed: Not JSON in UTF-8.
        Invalid: JSON, but not as the model wants it.
    """
    data = _parse(await _read(request, limit))
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise Invalid([_problem(problem) for problem in error.errors()[:MAX_ERRORS]]) from error


def query_number(request: Request, name: str, default: int, highest: int) -> int:
    """Read a whole number from 1 to `highest` from the query string. Raises Invalid."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= highest):
        problem = {"pointer": f"?{name}", "detail": f"is {text[:40]!r}; a whole number from 1 to {highest} is right"}
        raise Invalid([problem])
    return int(text)


async def _read(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"The body is over {limit:,} bytes, which is the most this route takes.")
    return bytes(body)


def _parse(body: bytes) -> Any:
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=_not_json)
        # JSON can spell half a surrogate pair and 1e999, and no store would take either.
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8: byte {error.start} does not fit.") from error
    except UnicodeEncodeError as error:
        raise Malformed("The body has a lone surrogate (\\ud800 to \\udfff), which is not a character.") from error
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from error
    except RecursionError as error:
        raise Malformed("The body is nested too deeply.") from error
    except ValueError as error:
        raise Malformed(f"The body is not JSON: {error}.") from error
    return data


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _problem(problem: Any) -> dict[str, str]:
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            detail = "there is no such field here"
        case "model_type":
            detail = "must be a JSON object"
        case _:
            detail = problem["msg"]
    return {"pointer": pointer, "detail": detail}
