"""One activity per tool, named `tool_<name>`: visible, metered and retried by name."""

from typing import Any

import azure.durable_functions as df

from perdure.bootstrap import services, tools
from perdure.domain.names import tool_activity
from perdure.domain.references import CallRef
from perdure.loop.tool_call import carry_out
from perdure.telemetry.logs import about
from perdure.tools import Tool

bp = df.Blueprint()


def register(tool: Tool) -> None:
    """Make an activity of a tool."""

    async def call(ref: dict) -> dict[str, Any]:
        at = CallRef.from_dict(ref)
        with about(at):
            return {"state": await carry_out(services(), tool, at)}

    call.__name__ = tool_activity(tool.name)
    bp.activity_trigger(input_name="ref", activity=call.__name__)(call)


for _tool in tools():
    register(_tool)
