"""Documents that a user's agents may search: load, list, search and remove them."""

import logging
from dataclasses import asdict

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response
from grpc import RpcError

from perdure.api.bodies import MAX_LOAD_BYTES, query_number, read_json
from perdure.api.documents import prepare_load, stage
from perdure.api.endpoint import caller, endpoint
from perdure.api.problems import NotFound, Unavailable
from perdure.api.schemas import DocumentView, LoadRequest, SearchRequest
from perdure.bootstrap import services
from perdure.domain.names import INGEST_DOCUMENTS

RUNNING = ("PENDING", "RUNNING", "SUSPENDED")

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)
logger = logging.getLogger(__name__)


@bp.route(route="memory/documents", methods=["POST"])
@bp.durable_client_input(client_name="client")
@endpoint("memory:write")
async def load_documents(req: Request, client: df.DurableFunctionsClient) -> Response:
    app = services()
    load = await prepare_load(app, caller(req), await read_json(req, LoadRequest, MAX_LOAD_BYTES))
    answer = {"ingestion_id": load.id, "documents": [{"id": id, "title": d.title} for id, d in load.documents.items()]}
    if load.is_done:
        documents = [DocumentView.of(load.published[id]).model_dump(mode="json") for id in load.documents]
        return JSONResponse({**answer, "status": "completed", "documents": documents})
    try:
        if not await _is_running(client, load.id):
            await stage(app, load)
            await _start(client, load.id, load.ingestion.to_dict())
    except RpcError as error:
        logger.error("Ingestion %s could not be started: %s", load.id, error)
        raise Unavailable("The task hub does not answer, so nothing was loaded. Try again.") from error
    urls = client.create_http_management_payload(None, load.id)
    headers = {"Location": urls["statusQueryGetUri"], "Retry-After": "1"}
    return JSONResponse({**answer, "status": "processing", **urls}, 202, headers)


@bp.route(route="memory/documents", methods=["GET"])
@endpoint("task:read")
async def list_documents(req: Request) -> Response:
    who, limit = caller(req), query_number(req, "limit", default=100, highest=1000)
    page = await services().memories.page(
        who.tenant, who.user, limit=limit, continuation=req.query_params.get("continuation")
    )
    documents = [DocumentView.of(document).model_dump(mode="json") for document in page.documents]
    return JSONResponse({"documents": documents, "continuation": page.continuation})


@bp.route(route="memory/documents/{document_id}", methods=["DELETE"])
@endpoint("memory:write")
async def remove_document(req: Request) -> Response:
    who, document_id = caller(req), req.path_params["document_id"]
    if not await services().memories.remove(who.tenant, who.user, document_id):
        raise NotFound(f"There is no document {document_id[:64]!r}; GET /api/memory/documents lists yours.")
    return Response(status_code=204)


@bp.route(route="memory/search", methods=["POST"])
@endpoint("task:read")
async def search_memory(req: Request) -> Response:
    who, wanted = caller(req), await read_json(req, SearchRequest)
    passages = await services().memories.search(who.tenant, who.user, wanted.query, wanted.limit)
    return JSONResponse({"passages": [asdict(passage) for passage in passages]})


async def _is_running(client: df.DurableFunctionsClient, ingestion: str) -> bool:
    state = await client.get_orchestration_state(ingestion, fetch_payloads=False)
    return state is not None and state.runtime_status.name in RUNNING


async def _start(client: df.DurableFunctionsClient, ingestion: str, input: dict) -> None:
    try:
        await client.schedule_new_orchestration(INGEST_DOCUMENTS, input=input, instance_id=ingestion)
    except RpcError:
        # An equal request may have started it a moment before; that one serves both.
        if not await _is_running(client, ingestion):
            raise
