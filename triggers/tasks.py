"""Tasks over HTTP: look at one, list them, cancel one."""

import asyncio

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response

from perdure.api.bodies import read_query
from perdure.api.endpoint import caller, endpoint
from perdure.api.problems import Conflict
from perdure.api.responses import json_response
from perdure.api.routes import CANCEL_TASK, GET_TASK, LIST_TASKS
from perdure.api.schemas.tasks import (
    TaskListQuery,
    TaskPageView,
    TaskQuery,
    TaskSummary,
    TaskView,
)
from perdure.api.tasks import end, own_task, wait_for_end
from perdure.bootstrap import services
from perdure.domain.task import Reason
from triggers.settling import cancel, settled

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(**GET_TASK.binding)
@bp.durable_client_input(client_name="client")
@endpoint(GET_TASK)
async def get_task(req: Request, client: df.DurableFunctionsClient) -> Response:
    app = services()
    wanted = read_query(req, TaskQuery)
    task = await settled(client, await own_task(app, caller(req), req.path_params["task_id"]))
    if task.reason is None and wanted.wait:
        await wait_for_end(app, task, wanted.wait, req.is_disconnected)
    record = await app.tasks.record(task.tenant, task.id)
    view = TaskView.of_record(record)
    return json_response(view) if record.task.reason else json_response(view, 202, {"Retry-After": "1"})


@bp.route(**LIST_TASKS.binding)
@bp.durable_client_input(client_name="client")
@endpoint(LIST_TASKS)
async def list_tasks(req: Request, client: df.DurableFunctionsClient) -> Response:
    who = caller(req)
    wanted = read_query(req, TaskListQuery)
    page = await services().tasks.page(who.tenant, who.user, limit=wanted.limit, continuation=wanted.continuation)
    tasks = await asyncio.gather(*(settled(client, task) for task in page.tasks))
    return json_response(TaskPageView(tasks=[TaskSummary.of(task) for task in tasks], continuation=page.continuation))


@bp.route(**CANCEL_TASK.binding)
@bp.durable_client_input(client_name="client")
@endpoint(CANCEL_TASK)
async def cancel_task(req: Request, client: df.DurableFunctionsClient) -> Response:
    app = services()
    task = await own_task(app, caller(req), req.path_params["task_id"])
    # The store first: if the event is lost, the task's next activity finds the task ended and stops.
    if task.reason is None:
        task = await end(app, task, Reason.CANCELLED, "Its owner cancelled it.")
    if task.reason is not Reason.CANCELLED:
        raise Conflict(f"The task has ended already: {task.status}, {task.reason}.")
    await cancel(client, [task.id])
    return json_response(TaskSummary.of(task))
