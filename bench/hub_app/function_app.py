"""The shape of an agent task and nothing else, as a Durable Functions app: what bench/engine_process.py does bare."""

from collections.abc import Generator
from typing import Any

import azure.durable_functions as df
from durabletask.task import OrchestrationContext, Task, when_all

RESULT = "x" * 200

app = df.DFApp()


@app.orchestration_trigger(context_name="ctx")
def bare_task(ctx: OrchestrationContext, calls: int) -> Generator[Task[Any], Any, int]:
    yield ctx.call_activity("model_step", input={"task": ctx.instance_id, "step": 1})
    refs = [{"task": ctx.instance_id, "step": 1, "index": index} for index in range(calls)]
    results = yield when_all([ctx.call_activity("tool_call", input=ref) for ref in refs])
    yield ctx.call_activity("model_step", input={"task": ctx.instance_id, "step": 2})
    yield ctx.call_activity("persist", input={"task": ctx.instance_id, "step": 2})
    return len(results)


@app.activity_trigger(input_name="ref")
async def model_step(ref: dict) -> str:
    return RESULT


@app.activity_trigger(input_name="ref")
async def tool_call(ref: dict) -> str:
    return RESULT


@app.activity_trigger(input_name="ref")
async def persist(ref: dict) -> str:
    return RESULT
