"""From a model of what is to be said to a response."""

from collections.abc import Mapping

from pydantic import BaseModel
from starlette.responses import Response


def json_response(body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, headers, "application/json")
