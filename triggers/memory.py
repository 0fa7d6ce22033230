"""Documents that a user's agents may search: load, list, search and remove them."""

import logging

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response
from grpc import RpcError

from perdure.api.bodies import MAX_LOAD_BYTES, read_json, read_query
from perdure.api.documents import prepare_load, stage, take_back
from perdure.api.endpoint import caller, endpoint
from perdure.api.management import urls_for
from perdure.api.problems import NotFound, Unavailable
from perdure.api.responses import json_response
from perdure.api.routes import LIST_DOCUMENTS, LOAD_DOCUMENTS, REMOVE_DOCUMENT, SEARCH_MEMORY
from perdure.api.schemas.memory import (
    DocumentListQuery,
    DocumentName,
    DocumentPageView,
    DocumentView,
    FoundPassages,
    LoadedDocuments,
    LoadRequest,
    PassageView,
    SearchRequest,
    StartedIngestion,
)
from perdure.bootstrap import services
from perdure.domain.names import INGEST_DOCUMENTS

RUNNING = ("PENDING", "RUNNING", "SUSPENDED")

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)
logger = logging.getLogger(__name__)


@bp.route(**LOAD_DOCUMENTS.binding)
@bp.durable_client_input(client_name="client")
@endpoint(LOAD_DOCUMENTS)
async def load_documents(req: Request, client: df.DurableFunctionsClient) -> Response:
    app = services()
    load = await prepare_load(app, caller(req), await read_json(req, LoadRequest, MAX_LOAD_BYTES))
    if load.is_done:
        there = [DocumentView.of(load.published[id]) for id in load.documents]
        return json_response(LoadedDocuments(ingestion_id=load.id, status="completed", documents=there))
    try:
        if not await _is_running(client, load.id):
            await stage(app, load)
            if not await _start(client, load.id, load.ingestion.to_dict()):
                await take_back(app, load.ingestion)
    except RpcError as error:
        logger.error("Ingestion %s could not be started: %s", load.id, error)
        raise Unavailable("The task hub does not answer, so nothing was loaded. Try again.") from error
    built_in = client.create_http_management_payload(None, load.id)
    urls = urls_for(caller(req), built_in, f"memory/ingestions/{load.id}", app.settings.public_url)
    headers = {"Location": urls["statusQueryGetUri"], "Retry-After": "1"}
    names = [DocumentName(id=id, title=document.title) for id, document in load.documents.items()]
    started = StartedIngestion(ingestion_id=load.id, status="processing", documents=names, **urls)
    return json_response(started, 202, headers)


@bp.route(**LIST_DOCUMENTS.binding)
@endpoint(LIST_DOCUMENTS)
async def list_documents(req: Request) -> Response:
    who, wanted = caller(req), read_query(req, DocumentListQuery)
    page = await services().memories.page(who.tenant, who.user, limit=wanted.limit, continuation=wanted.continuation)
    documents = [DocumentView.of(document) for document in page.documents]
    return json_response(DocumentPageView(documents=documents, continuation=page.continuation))


@bp.route(**REMOVE_DOCUMENT.binding)
@endpoint(REMOVE_DOCUMENT)
async def remove_document(req: Request) -> Response:
    who, document_id = caller(req), req.path_params["document_id"]
    if not await services().memories.remove(who.tenant, who.user, document_id):
        raise NotFound(f"There is no document {document_id[:64]!r}; GET /api/memory/documents lists yours.")
    return Response(status_code=204)


@bp.route(**SEARCH_MEMORY.binding)
@endpoint(SEARCH_MEMORY)
async def search_memory(req: Request) -> Response:
    who, wanted = caller(req), await read_json(req, SearchRequest)
    passages = await services().memories.search(who.tenant, who.user, wanted.query, wanted.limit)
    return json_response(FoundPassages(passages=[PassageView.of(passage) for passage in passages]))


async def _is_running(client: df.DurableFunctionsClient, ingestion: str) -> bool:
    state = await client.get_orchestration_state(ingestion, fetch_payloads=False)
    return state is not None and state.runtime_status.name in RUNNING


async def _start(client: df.DurableFunctionsClient, ingestion: str, input: dict) -> bool:
    """Start an orchestration; False when an equal request did a moment before: that one serves both."""
    try:
        await client.schedule_new_orchestration(INGEST_DOCUMENTS, input=input, instance_id=ingestion)
    except RpcError:
        if not await _is_running(client, ingestion):
            raise
        return False
    return True
