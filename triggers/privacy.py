"""What is kept of a user: exported, and erased with a receipt. A timer completes what a request could not."""

import json
from collections.abc import AsyncIterator

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response, StreamingResponse

from perdure.api.endpoint import caller, endpoint
from perdure.api.erasure import advance, advance_all, user_named
from perdure.api.problems import NotFound
from perdure.api.responses import json_response
from perdure.api.routes import ERASE_THREAD, ERASE_USER, EXPORT_USER, GET_ERASURE
from perdure.api.schemas.privacy import ErasureView
from perdure.bootstrap import services
from perdure.stores.erasures import Erasure
from triggers.task_hub import TaskHub

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(**ERASE_THREAD.binding)
@bp.durable_client_input(client_name="client")
@endpoint(ERASE_THREAD)
async def erase_thread(req: Request, client: df.DurableFunctionsClient) -> Response:
    app, who, thread = services(), caller(req), req.path_params["thread_id"]
    if not await app.user_data.has_thread(who.tenant, who.user, thread):
        raise NotFound(f"There is no thread {thread[:64]!r}; a task with a thread_id starts one.")
    erasure = await app.erasures.begin(who.tenant, who.user, thread, who.user)
    return _receipt(await advance(app, TaskHub(client), erasure))


@bp.route(**ERASE_USER.binding)
@bp.durable_client_input(client_name="client")
@endpoint(ERASE_USER)
async def erase_user(req: Request, client: df.DurableFunctionsClient) -> Response:
    app, who, user = services(), caller(req), user_named(req.path_params["user_id"])
    erasure = await app.erasures.begin(who.tenant, user, None, who.user)
    return _receipt(await advance(app, TaskHub(client), erasure))


@bp.route(**GET_ERASURE.binding)
@endpoint(GET_ERASURE)
async def get_erasure(req: Request) -> Response:
    who, erasure_id = caller(req), req.path_params["erasure_id"]
    erasure = await services().erasures.get(who.tenant, erasure_id)
    if erasure is None or not (erasure.requested_by == who.user or who.may("admin")):
        raise NotFound(f"There is no erasure {erasure_id[:64]!r}.")
    return json_response(ErasureView.of(erasure))


@bp.route(**EXPORT_USER.binding)
@endpoint(EXPORT_USER)
async def export_user(req: Request) -> Response:
    who, user = caller(req), user_named(req.path_params["user_id"])
    headers = {"Cache-Control": "no-store", "Content-Disposition": "attachment; filename=export.jsonl"}
    return StreamingResponse(_lines(who.tenant, user), media_type="application/x-ndjson", headers=headers)


@bp.timer_trigger(schedule="15 */5 * * * *", arg_name="timer")
@bp.durable_client_input(client_name="client")
async def finish_erasures(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:
    await advance_all(services(), TaskHub(client))


def _receipt(erasure: Erasure) -> Response:
    view = ErasureView.of(erasure)
    if erasure.completed_at:
        return json_response(view)
    return json_response(view, 202, {"Location": f"/api/erasures/{erasure.id}", "Retry-After": "300"})


async def _lines(tenant: str, user: str) -> AsyncIterator[str]:
    data = services().user_data
    tasks = [task.id for task in await data.tasks(tenant, user)]
    for place in await data.places(tenant, user, tasks):
        async for document in data.export(place):
            yield json.dumps({"container": place.container.name, "document": document}, ensure_ascii=False) + "\n"
