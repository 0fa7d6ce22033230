"""Gives an outcome to calls that were given up."""

from typing import Any

import azure.durable_functions as df

from perdure.bootstrap import services
from perdure.domain.names import SETTLE_CALLS
from perdure.domain.references import CallsRef
from perdure.loop.settlement import settle

bp = df.Blueprint()


@bp.activity_trigger(input_name="ref", activity=SETTLE_CALLS)
async def settle_calls(ref: dict) -> dict[str, Any]:
    return (await settle(services(), CallsRef.from_dict(ref))).to_dict()
