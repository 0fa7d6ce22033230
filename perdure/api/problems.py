"""Errors a caller sees, as RFC 9457 problem details.

Problem
├── Unauthorized     401: no credential, or not a valid one
├── Forbidden        403: a valid credential without the scope
├── NotFound         404: no such thing, or not the caller's
├── Conflict         409: the thing is not in a state for it
├── TooLarge         413: the body is over the limit
├── Malformed        400: not what HTTP or JSON allow
├── Invalid          422: well-formed, but not what the schema allows; `errors` has each field
├── TooManyRequests  429: over a limit; `Retry-After` says when to come back
├── InternalError    500: a fault of ours; the log says which
└── Unavailable      503: a passing fault of ours; `Retry-After` says when to come back
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from starlette.responses import JSONResponse, Response


class Problem(Exception):
    """An error with an HTTP status and a sentence that says what is wrong and what would be right."""

    status: ClassVar[HTTPStatus]

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers

    def members(self) -> dict[str, Any]:
        """The members of the problem document."""
        return {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }

    def response(self) -> Response:
        return JSONResponse(
            self.members(), self.status.value, headers=self.headers, media_type="application/problem+json"
        )


class Unauthorized(Problem):
    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, detail: str, challenge: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class Forbidden(Problem):
    status = HTTPStatus.FORBIDDEN


class NotFound(Problem):
    status = HTTPStatus.NOT_FOUND


class Conflict(Problem):
    status = HTTPStatus.CONFLICT


class TooLarge(Problem):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class Malformed(Problem):
    status = HTTPStatus.BAD_REQUEST


class Invalid(Problem):
    """Attributes: errors: `{"pointer": "/query", "detail": "..."}` for each field that is wrong."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        super().__init__("; ".join(f"{error['pointer'] or 'body'}: {error['detail']}" for error in errors))
        self.errors = errors

    def members(self) -> dict[str, Any]:
        return super().members() | {"errors": list(self.errors)}


class TooManyRequests(Problem):
    status = HTTPStatus.TOO_MANY_REQUESTS


class InternalError(Problem):
    status = HTTPStatus.INTERNAL_SERVER_ERROR


class Unavailable(Problem):
    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "5"})
