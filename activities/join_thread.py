"""Becomes a thread's writer, when it is the task's turn."""

from typing import Any

import azure.durable_functions as df

from perdure.bootstrap import services
from perdure.domain.names import JOIN_THREAD
from perdure.domain.references import StepRef
from perdure.loop.thread_entry import join

bp = df.Blueprint()


@bp.activity_trigger(input_name="ref", activity=JOIN_THREAD)
async def join_thread(ref: dict) -> dict[str, Any]:
    return {"joined": await join(services(), StepRef.from_dict(ref))}
