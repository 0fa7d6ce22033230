"""Asks the model for the next step."""

from typing import Any

import azure.durable_functions as df

from perdure.bootstrap import services
from perdure.domain.names import MODEL_STEP
from perdure.domain.references import StepRef
from perdure.loop.model_step import take_step

bp = df.Blueprint()


@bp.activity_trigger(input_name="ref", activity=MODEL_STEP)
async def model_step(ref: dict) -> dict[str, Any]:
    return (await take_step(services(), StepRef.from_dict(ref))).to_dict()
