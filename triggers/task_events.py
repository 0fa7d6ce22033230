"""A task as server-sent events."""

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response, StreamingResponse

from perdure.api.bodies import read_query
from perdure.api.endpoint import caller, endpoint
from perdure.api.events import page, stream
from perdure.api.problems import Malformed
from perdure.api.responses import json_response
from perdure.api.routes import FOLLOW_TASK
from perdure.api.schemas.tasks import EventsQuery
from perdure.api.tasks import own_task
from perdure.bootstrap import services
from triggers.settling import settled

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(**FOLLOW_TASK.binding)
@bp.durable_client_input(client_name="client")
@endpoint(FOLLOW_TASK)
async def follow_task(req: Request, client: df.DurableFunctionsClient) -> Response:
    tasks = services().tasks
    task = await settled(client, await own_task(services(), caller(req), req.path_params["task_id"]))
    wanted = read_query(req, EventsQuery)
    cursor = wanted.cursor or req.headers.get("Last-Event-ID")
    try:
        if _wants_json(req.headers.get("Accept", "")):
            return json_response(await page(tasks, task, cursor, wanted.wait))
        news = await tasks.changes(task.tenant, task.id, cursor, limit=1)
    except ValueError as error:
        raise Malformed(f"{cursor!r} is not the id of an event of this stream.") from error
    if task.reason is not None and not news:
        # Told 204, a browser's EventSource stops reconnecting.
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream(tasks, task, cursor), media_type="text/event-stream", headers=headers)


def _wants_json(accept: str) -> bool:
    return "application/json" in accept and "text/event-stream" not in accept
