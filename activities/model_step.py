"""Asks the model for the next step."""

from typing import Any

import azure.durable_functions as df

from perdure.bootstrap import services
from perdure.domain.names import MODEL_STEP
from perdure.domain.references import StepRef
from perdure.loop.model_step import take_step
from perdure.telemetry.logs import about

bp = df.Blueprint()


@bp.activity_trigger(input_name="ref", activity=MODEL_STEP)
async def model_step(ref: dict) -> dict[str, Any]:
    step = StepRef.from_dict(ref)
    with about(step):
        return (await take_step(services(), step)).to_dict()
