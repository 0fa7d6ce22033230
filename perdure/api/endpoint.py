"""What every route has in common: the caller is known, and every error is a problem document."""

import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Concatenate

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from perdure.api.auth import identify
from perdure.api.problems import InternalError, NotFound, Problem, Unavailable
from perdure.api.routes import Route
from perdure.bootstrap import services, start_telemetry
from perdure.documents.port import DocumentError, DocumentMissing, StoreUnavailable
from perdure.domain.principal import Principal
from perdure.models.port import ModelRejected, ModelUnavailable
from perdure.redaction import content_log, traceback_of
from perdure.stores.embedding_space import EmbeddingsMismatch
from perdure.telemetry import names, spans
from perdure.telemetry.trace_ids import TRACEPARENT

type Handler[**P] = Callable[Concatenate[Request, P], Awaitable[Response]]

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    # Without effect over plain HTTP, as on a laptop.
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer, unless the route says otherwise: data that no browser should keep, frame, guess or run."""

logger = logging.getLogger(__name__)


def endpoint[**P](route: Route) -> Callable[[Handler[P]], Handler[P]]:
    """Let a handler run only for a caller with the route's scope, and answer errors as problem documents."""

    def wrap(handler: Handler[P]) -> Handler[P]:
        async def answer(req: Request, *args: P.args, **kwargs: P.kwargs) -> Response:
            limits: dict[str, str] = {}
            try:
                if route.scope is not None:
                    who = req.state.principal = await identify(services(), req.headers, route.scope)
                    limits = await services().limiter.count(who, route.rate)
                response = await handler(req, *args, **kwargs)
            except ClientDisconnect:
                # Nobody is left to answer; the host knows what to do.
                raise
            except Exception as error:
                response = _problem_of(error, req).response()
            # A limit that was reached says more than those that were not.
            return _with_headers(response, limits)

        async def traced(req: Request, *args: P.args, **kwargs: P.kwargs) -> Response:
            start_telemetry()
            with spans.request(req.method, f"/api/{route.path}", req.headers.get(TRACEPARENT)) as span:
                response = await answer(req, *args, **kwargs)
                span.tell({names.STATUS_CODE: response.status_code})
                if response.status_code >= 500:
                    span.failed(str(response.status_code))
            return response

        @functools.wraps(handler)
        async def guarded(req: Request, *args: P.args, **kwargs: P.kwargs) -> Response:
            traces = traced if route.rate == "start" else answer
            return _with_headers(await traces(req, *args, **kwargs), SECURITY_HEADERS)

        return guarded

    return wrap


def caller(request: Request) -> Principal:
    """Say who sent a request that came through an endpoint."""
    return request.state.principal


def _problem_of(error: Exception, request: Request) -> Problem:
    match error:
        case Problem():
            return error
        case StoreUnavailable():
            logger.warning("The store is unavailable: %s", error)
            return Unavailable("The store does not answer. Try again.")
        case DocumentMissing():
            return NotFound("What the request is about was removed meanwhile.")
        case DocumentError():
            # The store answers, but not for this deployment: another embedding model, a container that is missing.
            logger.error("The store refuses: %s", error)
            return InternalError(f"The store refuses: {error}")
        case EmbeddingsMismatch():
            logger.error("The store and the settings do not fit: %s", error)
            return InternalError(str(error))
        case ModelUnavailable():
            logger.warning("The embedding model is unavailable: %s", error)
            return Unavailable("The embedding model does not answer. Try again.")
        case ModelRejected():
            logger.error("The embedding model refuses: %s", error)
            return InternalError("The embedding model refuses what it is asked; the log says why.")
        case _:
            # The last stop: what is wrong with us is for the log, not for the caller.
            logger.error("%s %s failed: %s", request.method, request.url.path, traceback_of(error))
            content_log.error("%s %s failed", request.method, request.url.path, exc_info=error)
            return InternalError("Something went wrong here; the log says what.")


def _with_headers(response: Response, headers: Mapping[str, str]) -> Response:
    """Add headers that the response does not have yet."""
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    return response
