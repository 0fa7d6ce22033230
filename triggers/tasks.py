"""Tasks over HTTP: start one, look at it, list them, cancel one."""

import asyncio
import logging

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response
from grpc import RpcError

from perdure.api.bodies import query_number, read_json
from perdure.api.endpoint import caller, endpoint
from perdure.api.problems import Conflict, Unavailable
from perdure.api.schemas import TaskRequest, TaskSummary, TaskView
from perdure.api.tasks import end, first_run, own_task, submit
from perdure.bootstrap import services
from perdure.domain.names import AGENT_TASK, CANCEL
from perdure.domain.task import Reason
from triggers.settling import settled

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)
logger = logging.getLogger(__name__)


@bp.route(route="agent/task", methods=["POST"])
@bp.durable_client_input(client_name="client")
@endpoint("task:run")
async def start_task(req: Request, client: df.DurableFunctionsClient) -> Response:
    app = services()
    task = await submit(app, caller(req), await read_json(req, TaskRequest))
    try:
        await client.schedule_new_orchestration(AGENT_TASK, input=first_run(task).to_dict(), instance_id=task.id)
    except RpcError as error:
        logger.error("Task %s could not be started: %s", task.id, error)
        await end(app, task, Reason.LOST, "The orchestration could not be started.")
        raise Unavailable("The task hub does not answer, so the task was not started. Try again.") from error
    urls = client.create_http_management_payload(None, task.id)
    headers = {"Location": urls["statusQueryGetUri"], "Retry-After": "1"}
    return JSONResponse({"task_id": task.id, "status": task.status, **urls}, 202, headers)


@bp.route(route="agent/task/{task_id}", methods=["GET"])
@bp.durable_client_input(client_name="client")
@endpoint("task:read")
async def get_task(req: Request, client: df.DurableFunctionsClient) -> Response:
    app = services()
    task = await own_task(app, caller(req), req.path_params["task_id"])
    await settled(client, task)
    record = await app.tasks.record(task.tenant, task.id)
    view = TaskView.of_record(record).model_dump(mode="json")
    return JSONResponse(view) if record.task.reason else JSONResponse(view, 202, {"Retry-After": "1"})


@bp.route(route="agent/task", methods=["GET"])
@bp.durable_client_input(client_name="client")
@endpoint("task:read")
async def list_tasks(req: Request, client: df.DurableFunctionsClient) -> Response:
    who = caller(req)
    limit = query_number(req, "limit", default=20, highest=100)
    page = await services().tasks.page(
        who.tenant, who.user, limit=limit, continuation=req.query_params.get("continuation")
    )
    tasks = await asyncio.gather(*(settled(client, task) for task in page.tasks))
    views = [TaskSummary.of(task).model_dump(mode="json") for task in tasks]
    return JSONResponse({"tasks": views, "continuation": page.continuation})


@bp.route(route="agent/task/{task_id}/cancel", methods=["POST"])
@bp.durable_client_input(client_name="client")
@endpoint("task:run")
async def cancel_task(req: Request, client: df.DurableFunctionsClient) -> Response:
    app = services()
    task = await own_task(app, caller(req), req.path_params["task_id"])
    # The store first: if the event is lost, the task's next activity finds the task ended and stops.
    if task.reason is None:
        task = await end(app, task, Reason.CANCELLED, "Its owner cancelled it.")
    if task.reason is not Reason.CANCELLED:
        raise Conflict(f"The task has ended already: {task.status}, {task.reason}.")
    try:
        await client.raise_orchestration_event(task.id, CANCEL)
    except RpcError as error:
        logger.warning("Task %s was cancelled, but its orchestration was not told: %s", task.id, error)
    return JSONResponse(TaskSummary.of(task).model_dump(mode="json"))
