"""What an endpoint makes of what a handler raises."""

import json
import logging

import pytest
from starlette.requests import Request
from starlette.responses import Response

from perdure.api.endpoint import endpoint
from perdure.api.routes import Route
from perdure.documents.port import DocumentMissing

pytestmark = pytest.mark.anyio

OPEN = Route("GET", "things/{thing}", None, "Look at a thing", {200: None})


async def answer_to(error: Exception) -> tuple[int, dict[str, object]]:
    """The status and the body that a caller gets when the handler of an open route raises an error."""

    @endpoint(OPEN)
    async def fail(request: Request) -> Response:
        raise error

    request = Request({"type": "http", "method": "GET", "path": "/api/things/1", "headers": [], "query_string": b""})
    response = await fail(request)
    return response.status_code, json.loads(bytes(response.body))


async def test_what_is_removed_while_a_request_is_at_work_on_it_is_not_there() -> None:
    status, problem = await answer_to(DocumentMissing("no task 1"))
    assert (status, problem["detail"]) == (404, "What the request is about was removed meanwhile.")


async def test_a_fault_of_ours_is_logged_without_what_users_said(caplog: pytest.LogCaptureFixture) -> None:
    """What a validation error says, for one, quotes what it was given."""
    with caplog.at_level(logging.DEBUG):
        status, problem = await answer_to(ValueError("input_value='a xylophone'"))
    assert (status, problem["title"]) == (500, "Internal Server Error")
    assert "xylophone" not in f"{problem}{caplog.text}"
    assert "GET /api/things/1 failed: ValueError" in caplog.text
    assert "in fail" in caplog.text
