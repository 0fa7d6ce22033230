"""What this deployment offers, and whether it is well."""

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response

from perdure.api.endpoint import endpoint
from perdure.bootstrap import services

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(route="agents", methods=["GET"])
@endpoint("task:read")
async def list_agents(req: Request) -> Response:
    app = services()
    agents = [
        {
            "name": agent.name,
            "default": agent.name == app.agents.default,
            "description": agent.description,
            "model": agent.model or app.settings.model,
            "tools": list(agent.tools),
            "limits": agent.limits.model_dump(),
        }
        for agent in app.agents.by_name.values()
    ]
    return JSONResponse({"agents": agents})


@bp.route(route="tools", methods=["GET"])
@endpoint("task:read")
async def list_tools(req: Request) -> Response:
    tools = [
        {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "idempotent": tool.idempotent,
            "approval": tool.approval,
            "timeout": tool.timeout,
            "max_result_bytes": tool.max_result_bytes,
            "cache_ttl": tool.cache_ttl,
        }
        for tool in services().tools
    ]
    return JSONResponse({"tools": tools})


@bp.route(route="health", methods=["GET"])
@endpoint(None)
async def health(req: Request) -> Response:
    """Answer 200 when the store answers and fits the settings. Open to everybody, so it tells nothing else."""
    await services().keys.any_exists()
    await services().ingestion.check()
    return JSONResponse({"status": "ok"})
