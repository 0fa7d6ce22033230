"""Management URLs for owners: for each built-in one, one of ours that checks whose operation it is."""

import logging

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response
from grpc import RpcError

from perdure.api.bodies import read_query
from perdure.api.documents import own_ingestion, take_back
from perdure.api.endpoint import caller, endpoint
from perdure.api.management import own_urls, pass_on
from perdure.api.problems import Conflict, Unavailable
from perdure.api.routes import INGESTION_MANAGEMENT, TASK_MANAGEMENT, Route, name_of
from perdure.api.tasks import end, open_below, own_task
from perdure.bootstrap import services
from perdure.domain.ingestion import Ingestion
from perdure.domain.task import Reason
from triggers.settling import cancel

BUILT_IN = {
    "status": "statusQueryGetUri",
    "raiseEvent": "sendEventPostUri",
    "terminate": "terminatePostUri",
    "suspend": "suspendPostUri",
    "resume": "resumePostUri",
}
ONCE = "It runs once, so that nothing it did is done twice. Start a new one instead."

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)
logger = logging.getLogger(__name__)


def register_for_tasks(route: Route) -> None:
    """Make a function of a management route of tasks."""

    async def manage(req: Request, client: df.DurableFunctionsClient) -> Response:
        app = services()
        task = await own_task(app, caller(req), req.path_params["task_id"])
        answer = await _managed(route, req, client, task.id)
        if route.action == "terminate" and answer.status_code == 202:
            below = await open_below(app, task)
            await end(app, task, Reason.TERMINATED, "Its owner terminated the orchestration.")
            # Not every task hub ends what a terminated orchestration started.
            await cancel(client, [asked.id for asked in below])
        return answer

    _bind(route, manage)


def register_for_ingestions(route: Route) -> None:
    """Make a function of a management route of ingestions."""

    async def manage(req: Request, client: df.DurableFunctionsClient) -> Response:
        ingestion_id = req.path_params["ingestion_id"]
        ingestion = await _own_ingestion(req, client, ingestion_id)
        answer = await _managed(route, req, client, ingestion_id)
        if route.action == "terminate" and answer.status_code == 202:
            await take_back(services(), ingestion)
        return answer

    _bind(route, manage)


async def _own_ingestion(req: Request, client: df.DurableFunctionsClient, ingestion_id: str) -> Ingestion:
    try:
        state = await client.get_orchestration_state(ingestion_id)
    except RpcError as error:
        logger.warning("Ingestion %s cannot be looked up: %s", ingestion_id, error)
        raise Unavailable("The task hub does not answer. Try again.") from error
    return own_ingestion(caller(req), ingestion_id, state.serialized_input if state else None)


async def _managed(route: Route, req: Request, client: df.DurableFunctionsClient, instance: str) -> Response:
    if route.action not in BUILT_IN:
        raise Conflict(ONCE)
    if route.query is not None:
        read_query(req, route.query)
    urls = client.create_http_management_payload(None, instance)
    path = req.url.path.partition("/api/")[2].partition(f"/{route.action}")[0]
    own = own_urls(urls, path, services().settings.public_url)
    return await pass_on(req, urls[BUILT_IN[route.action]], own["statusQueryGetUri"])


def _bind(route: Route, manage) -> None:
    manage.__name__ = name_of(route)
    bound = bp.durable_client_input(client_name="client")(endpoint(route)(manage))
    bp.route(**route.binding)(bound)


for _route in TASK_MANAGEMENT:
    register_for_tasks(_route)
for _route in INGESTION_MANAGEMENT:
    register_for_ingestions(_route)
