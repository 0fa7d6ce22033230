"""API keys over HTTP, for administrators."""

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response

from perdure.api.bodies import read_json, read_query
from perdure.api.endpoint import caller, endpoint
from perdure.api.keys import make_key, revoke_key, tenant_key
from perdure.api.responses import json_response
from perdure.api.routes import GET_KEY, LIST_KEYS, MAKE_KEY, REVOKE_KEY
from perdure.api.schemas.keys import KeyListQuery, KeyPageView, KeyRequest, KeyView, NewKeyView
from perdure.bootstrap import services

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(**MAKE_KEY.binding)
@endpoint(MAKE_KEY)
async def create_key(req: Request) -> Response:
    issued = await make_key(services(), caller(req), await read_json(req, KeyRequest))
    headers = {"Location": f"{req.url.path.rstrip('/')}/{issued.key.id}", "Cache-Control": "no-store"}
    return json_response(NewKeyView.of_new(issued.key, issued.text), 201, headers)


@bp.route(**LIST_KEYS.binding)
@endpoint(LIST_KEYS)
async def list_keys(req: Request) -> Response:
    wanted = read_query(req, KeyListQuery)
    page = await services().keys.page(caller(req).tenant, limit=wanted.limit, continuation=wanted.continuation)
    return json_response(KeyPageView(keys=[KeyView.of(key) for key in page.keys], continuation=page.continuation))


@bp.route(**GET_KEY.binding)
@endpoint(GET_KEY)
async def get_key(req: Request) -> Response:
    return json_response(KeyView.of(await tenant_key(services(), caller(req), req.path_params["key_id"])))


@bp.route(**REVOKE_KEY.binding)
@endpoint(REVOKE_KEY)
async def delete_key(req: Request) -> Response:
    await revoke_key(services(), caller(req), req.path_params["key_id"])
    return Response(status_code=204)
