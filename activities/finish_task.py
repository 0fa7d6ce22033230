"""Ends a task, and tells the status URL how."""

from typing import Any

import azure.durable_functions as df

from perdure.bootstrap import services
from perdure.domain.names import FINISH_TASK
from perdure.domain.references import Closing
from perdure.loop.finish import finish
from perdure.telemetry.logs import about

OUTPUT = 16_000
"""Most characters of the answer in the orchestration's output. The task's own document has all of it."""

bp = df.Blueprint()


@bp.activity_trigger(input_name="closing", activity=FINISH_TASK)
async def finish_task(closing: dict) -> dict[str, Any]:
    end = Closing.from_dict(closing)
    with about(end):
        ended = await finish(services(), end)
    record = ended.record
    task, usage = record.task, record.usage
    output = {
        "task_id": task.id,
        "status": task.status,
        "reason": task.reason,
        "result": task.result and task.result[:OUTPUT],
        "detail": task.detail,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "steps": record.bill.steps,
            "cost_usd": record.cost_usd,
        },
    }
    return output | {"next_writer": ended.next_writer} if ended.next_writer else output
