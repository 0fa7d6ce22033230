"""The API's own description: the OpenAPI document and a page to read it and try it."""

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import HTMLResponse, JSONResponse, RedirectResponse, Request, Response

from perdure.api.docs import PAGE, POLICY, asset
from perdure.api.endpoint import endpoint
from perdure.api.openapi import openapi
from perdure.api.problems import NotFound
from perdure.api.routes import DOCS, DOCS_ASSET, OPENAPI

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(**OPENAPI.binding)
@endpoint(OPENAPI)
async def openapi_document(req: Request) -> Response:
    return JSONResponse(openapi())


@bp.route(**DOCS.binding)
@endpoint(DOCS)
async def documentation(req: Request) -> Response:
    if req.url.path.endswith("/"):
        # What the page loads is named from its address without the slash.
        return RedirectResponse("../docs", 308)
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


@bp.route(**DOCS_ASSET.binding)
@endpoint(DOCS_ASSET)
async def documentation_asset(req: Request) -> Response:
    found = asset(req.path_params["asset"])
    if found is None:
        raise NotFound("The documentation page has no such asset; the page is at GET /api/docs.")
    return Response(found[0], media_type=found[1], headers={"Cache-Control": "public, max-age=3600"})
