"""What models were used for, over HTTP."""

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response

from perdure.api.bodies import read_query
from perdure.api.endpoint import caller, endpoint
from perdure.api.responses import json_response
from perdure.api.routes import GET_USAGE
from perdure.api.schemas.usage import UsageQuery
from perdure.api.usage import usage_report
from perdure.bootstrap import services

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(**GET_USAGE.binding)
@endpoint(GET_USAGE)
async def get_usage(req: Request) -> Response:
    return json_response(await usage_report(services(), caller(req), read_query(req, UsageQuery)))
