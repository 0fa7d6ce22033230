"""Conversations over HTTP."""

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response

from perdure.api.bodies import read_query
from perdure.api.endpoint import caller, endpoint
from perdure.api.responses import json_response
from perdure.api.routes import GET_THREAD
from perdure.api.schemas.threads import ThreadQuery, ThreadView
from perdure.api.threads import own_thread
from perdure.bootstrap import services

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(**GET_THREAD.binding)
@endpoint(GET_THREAD)
async def get_thread(req: Request) -> Response:
    app = services()
    wanted = read_query(req, ThreadQuery)
    thread = await own_thread(app, caller(req), req.path_params["thread_id"])
    messages = await app.threads.messages(thread, wanted.continuation, wanted.limit)
    return json_response(ThreadView.of(thread, messages))
