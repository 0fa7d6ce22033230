"""Every kind of durable work, each with an outcome that is known beforehand, and activities that tell when they ran."""

import os
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
from durabletask.entities import EntityInstanceId
from durabletask.task import OrchestrationContext, Task, when_all

type Steps = Generator[Task[Any], Any, Any]

app = df.DFApp()


@app.activity_trigger(input_name="work")
async def square(work: dict) -> int:
    line = f"{work['by']} {work['label']}\n".encode()
    log = os.open(os.environ["RAN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, line)
    os.close(log)
    return work["number"] ** 2


def _work(ctx: OrchestrationContext, label: str, number: int) -> Task[Any]:
    return ctx.call_activity("square", input={"by": ctx.instance_id, "label": label, "number": number})


@app.orchestration_trigger(context_name="ctx")
def fans_out(ctx: OrchestrationContext, width: int) -> Steps:
    first = yield _work(ctx, "first", 1)
    parts = yield when_all([_work(ctx, f"part-{n}", n) for n in range(width)])
    last = yield _work(ctx, "last", 2)
    return first + sum(parts) + last


@app.orchestration_trigger(context_name="ctx")
def has_children(ctx: OrchestrationContext, width: int) -> Steps:
    children = [
        ctx.call_sub_orchestrator("fans_out", input=width, instance_id=f"{ctx.instance_id}-child-{n}") for n in range(2)
    ]
    return sum((yield when_all(children)))


@app.orchestration_trigger(context_name="ctx")
def waits(ctx: OrchestrationContext, number: int) -> Steps:
    yield ctx.create_timer(timedelta(milliseconds=100))
    before = yield _work(ctx, "before", number)
    went = yield ctx.wait_for_external_event("go")
    yield ctx.create_timer(timedelta(milliseconds=50))
    return [before, went]


@app.orchestration_trigger(context_name="ctx")
def begins_anew(ctx: OrchestrationContext, done: list) -> Steps:
    squared = yield _work(ctx, f"generation-{len(done)}", len(done))
    if len(done) == 3:
        return [*done, squared]
    ctx.continue_as_new([*done, squared])
    return None


@app.orchestration_trigger(context_name="ctx")
def counts(ctx: OrchestrationContext, times: int) -> Steps:
    counter = EntityInstanceId("counter", ctx.instance_id)
    for _ in range(times):
        ctx.signal_entity(counter, "add", 1)
    yield _work(ctx, "between", times)
    with (yield ctx.lock_entities([counter])):
        held = yield ctx.call_entity(counter, "get")
        yield ctx.call_entity(counter, "add", 10)
        later = yield ctx.call_entity(counter, "get")
    return [held, later]


@app.entity_trigger(context_name="context", entity_name="counter")
def counter(context: df.DurableEntityContext) -> None:
    value = context.get_state(lambda: 0)
    if context.operation_name == "add":
        value += context.get_input()
    context.set_state(value)
    context.set_result(value)
