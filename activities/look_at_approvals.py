"""Sees what people decided on the calls of a step."""

from typing import Any

import azure.durable_functions as df

from perdure.bootstrap import services
from perdure.domain.names import LOOK_AT_APPROVALS
from perdure.domain.references import StepRef
from perdure.loop.approvals import look
from perdure.telemetry.logs import about

bp = df.Blueprint()


@bp.activity_trigger(input_name="ref", activity=LOOK_AT_APPROVALS)
async def look_at_approvals(ref: dict) -> dict[str, Any]:
    step = StepRef.from_dict(ref)
    with about(step):
        return (await look(services(), step)).to_dict()
