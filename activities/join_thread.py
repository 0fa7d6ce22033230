"""Becomes a thread's writer, when it is the task's turn."""

from typing import Any

import azure.durable_functions as df

from perdure.bootstrap import services
from perdure.domain.names import JOIN_THREAD
from perdure.domain.references import StepRef
from perdure.loop.thread_entry import join
from perdure.telemetry.logs import about

bp = df.Blueprint()


@bp.activity_trigger(input_name="ref", activity=JOIN_THREAD)
async def join_thread(ref: dict) -> dict[str, Any]:
    step = StepRef.from_dict(ref)
    with about(step):
        return {"joined": await join(services(), step)}
