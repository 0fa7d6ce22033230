"""Conversations over HTTP."""

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response

from perdure.api.bodies import query_number
from perdure.api.endpoint import caller, endpoint
from perdure.api.schemas import ThreadView
from perdure.api.threads import own_thread
from perdure.bootstrap import services

MAX_LIMIT = 200

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(route="agent/threads/{thread_id}", methods=["GET"])
@endpoint("task:read")
async def get_thread(req: Request) -> Response:
    app = services()
    limit = query_number(req, "limit", default=50, highest=MAX_LIMIT)
    start = query_number(req, "continuation", default=0, highest=999_999_999)
    thread = await own_thread(app, caller(req), req.path_params["thread_id"])
    messages = await app.threads.messages(thread, start, limit)
    return JSONResponse(ThreadView.of(thread, messages).model_dump(mode="json"))
