"""Questions about tool calls over HTTP: list what waits for a person, decide on it."""

import logging

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response
from grpc import RpcError

from perdure.api.approvals import decide, waiting
from perdure.api.bodies import read_json, read_query
from perdure.api.endpoint import caller, endpoint
from perdure.api.responses import json_response
from perdure.api.routes import DECIDE_APPROVAL, LIST_APPROVALS
from perdure.api.schemas.approvals import ApprovalListQuery, ApprovalPageView, ApprovalView, DecisionRequest
from perdure.bootstrap import services
from perdure.domain.names import APPROVAL

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)
logger = logging.getLogger(__name__)


@bp.route(**LIST_APPROVALS.binding)
@endpoint(LIST_APPROVALS)
async def list_approvals(req: Request) -> Response:
    wanted = read_query(req, ApprovalListQuery)
    page = await waiting(services(), caller(req), wanted.limit, wanted.continuation)
    views = [ApprovalView.of(approval) for approval in page.approvals]
    return json_response(ApprovalPageView(approvals=views, continuation=page.continuation))


@bp.route(**DECIDE_APPROVAL.binding)
@bp.durable_client_input(client_name="client")
@endpoint(DECIDE_APPROVAL)
async def decide_approval(req: Request, client: df.DurableFunctionsClient) -> Response:
    task_id, approval_id = req.path_params["task_id"], req.path_params["approval_id"]
    request = await read_json(req, DecisionRequest)
    approval = await decide(services(), caller(req), task_id, approval_id, request)
    # The store has it. If the event is lost, the task finds it when it looks next.
    try:
        await client.raise_orchestration_event(task_id, APPROVAL)
    except RpcError as error:
        logger.warning("Task %s was not told of a decision: %s", task_id, error)
    return json_response(ApprovalView.of(approval))
