"""From a request to a checked model of what it says."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from pydantic import BaseModel, RootModel, ValidationError
from starlette.requests import Request

from perdure.api.problems import Invalid, Malformed, TooLarge

MAX_BODY_BYTES = 256 * 1024
"""Largest request body. A question with its context fits; documents have a route of their own."""

MAX_ERRORS = 20
"""Most wrong fields that are named in one answer."""

MANY_ERRORS = 20_000
"""With more wrong fields than these, none is named."""

MAX_LOAD_BYTES = 6 * 1024 * 1024
"""Largest request body with documents: one of 5 MB fits, with the escapes that JSON adds to it."""


async def read_json[M: BaseModel](request: Request, model: type[M], limit: int = MAX_BODY_BYTES) -> M:
    """Read a JSON body and check it.

    Raises:
        TooLarge: Over `limit` bytes.
        Malformed: Not JSON in UTF-8.
        Invalid: JSON, but not as the model wants it.
    """
    data = _parse(await read_body(request, limit))
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # Of a choice between models, the first part of a location is the name of the choice.
        depth = 1 if issubclass(model, RootModel) else 0
        raise Invalid([_problem(problem, problem["loc"][depth:]) for problem in _errors(error)]) from error


def read_query[M: BaseModel](request: Request, model: type[M]) -> M:
    """Check the query string. What the model does not know is passed over. Raises Invalid."""
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        problems = [{"pointer": f"?{problem['loc'][0]}", "detail": problem["msg"]} for problem in _errors(error)]
        raise Invalid(problems) from error


def _errors(error: ValidationError) -> Sequence[Any]:
    if (count := error.error_count()) > MANY_ERRORS:
        # To describe them all would keep everybody else waiting.
        raise Invalid([{"pointer": "", "detail": f"{count:,} things are wrong with it"}]) from error
    return error.errors(include_url=False, include_context=False, include_input=False)[:MAX_ERRORS]


async def read_body(request: Request, limit: int) -> bytes:
    """Read a body whole. Raises TooLarge."""
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


def _problem(problem: Any, location: Sequence[int | str]) -> dict[str, str]:
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)
    match problem["type"]:
        case "extra_forbidden":
            detail = "there is no such field here"
        case "model_type":
            detail = "must be a JSON object"
        case _:
            detail = problem["msg"]
    return {"pointer": pointer, "detail": detail}
