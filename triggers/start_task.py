"""The start of a task: stored, in its thread, and its orchestration scheduled; with an Idempotency-Key, once."""

import logging
from contextlib import suppress

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response
from grpc import RpcError

from perdure.api.bodies import read_json
from perdure.api.endpoint import caller, endpoint
from perdure.api.idempotency import idempotency_key, start_once
from perdure.api.management import urls_for
from perdure.api.problems import Unavailable
from perdure.api.responses import json_response
from perdure.api.routes import START_TASK
from perdure.api.schemas.tasks import (
    StartedTask,
    TaskRequest,
)
from perdure.api.tasks import end, first_run, submit
from perdure.bootstrap import services
from perdure.domain.names import AGENT_TASK
from perdure.domain.principal import Principal
from perdure.domain.task import Reason

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)
logger = logging.getLogger(__name__)


@bp.route(**START_TASK.binding)
@bp.durable_client_input(client_name="client")
@endpoint(START_TASK)
async def start_task(req: Request, client: df.DurableFunctionsClient) -> Response:
    app, who = services(), caller(req)
    key = idempotency_key(req)
    request = await read_json(req, TaskRequest)
    task_id = await start_once(app, who, key, request, lambda id: _start(client, who, request, id))
    built_in = client.create_http_management_payload(None, task_id)
    urls = urls_for(who, built_in, f"agent/task/{task_id}", app.settings.public_url)
    headers = {"Location": urls["statusQueryGetUri"], "Retry-After": "1"}
    return json_response(StartedTask(task_id=task_id, status="processing", **urls), 202, headers)


async def _start(client: df.DurableFunctionsClient, who: Principal, request: TaskRequest, task_id: str) -> None:
    app = services()
    task = await submit(app, who, request, task_id)
    if task.reason is not None:
        return
    try:
        await client.schedule_new_orchestration(AGENT_TASK, input=first_run(task).to_dict(), instance_id=task.id)
    except RpcError as error:
        if await _is_there(client, task.id):
            return  # Of a start that is made again.
        logger.error("Task %s could not be started: %s", task.id, error)
        await end(app, task, Reason.LOST, "The orchestration could not be started.")
        raise Unavailable("The task hub does not answer, so the task was not started. Try again.") from error


async def _is_there(client: df.DurableFunctionsClient, task_id: str) -> bool:
    with suppress(RpcError):
        return await client.get_orchestration_state(task_id, fetch_payloads=False) is not None
    return False
