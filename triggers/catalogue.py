"""What this deployment offers, and whether it is well."""

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response

from perdure.api.endpoint import endpoint
from perdure.api.responses import json_response
from perdure.api.routes import HEALTH, LIST_AGENTS, LIST_TOOLS
from perdure.api.schemas.catalogue import AgentsView, AgentView, Health, ToolsView, ToolView
from perdure.bootstrap import services

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(**LIST_AGENTS.binding)
@endpoint(LIST_AGENTS)
async def list_agents(req: Request) -> Response:
    app = services()
    agents = [
        AgentView(
            name=agent.name,
            default=agent.name == app.agents.default,
            description=agent.description,
            model=agent.model or app.settings.model,
            fallback=list(agent.fallback),
            tools=list(agent.tools),
            agents=list(agent.agents),
            limits=agent.limits,
            budget=agent.budget,
        )
        for agent in app.agents.by_name.values()
    ]
    return json_response(AgentsView(agents=agents))


@bp.route(**LIST_TOOLS.binding)
@endpoint(LIST_TOOLS)
async def list_tools(req: Request) -> Response:
    return json_response(ToolsView(tools=[ToolView.of(tool) for tool in services().tools]))


@bp.route(**HEALTH.binding)
@endpoint(HEALTH)
async def health(req: Request) -> Response:
    """Answer 200 when the store answers and fits the settings. Open to everybody, so it names kinds and no names."""
    await services().keys.any_exists()
    await services().ingestion.check()
    down = sorted({name.partition(":")[0] for name in await services().breakers.down()})
    return json_response(Health(status="degraded" if down else "ok", down=down))
