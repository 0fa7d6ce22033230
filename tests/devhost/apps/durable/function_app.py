"""A durable app with one of everything: fan-out, sub-orchestrations, events, timers, entities, retries, failures."""

import asyncio
import logging
import time
from datetime import datetime, timedelta
from pathlib import Path

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
waiting = df.RetryOptions(first_retry_interval_in_milliseconds=10, max_number_of_attempts=3)
attempts: dict[str, int] = {}


@app.route("start/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    body = req.get_body()
    instance_id = await client.start_new(
        req.route_params["name"], req.params.get("id"), req.get_json() if body else None
    )
    return client.create_check_status_response(req, instance_id)


@app.route("wait/{id}")
@app.durable_client_input(client_name="client")
async def wait(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    return await client.wait_for_completion_or_create_check_status_response(
        req, req.route_params["id"], timeout_in_milliseconds=10_000
    )


@app.route("later", methods=["POST"])
@app.durable_client_input(client_name="client")
async def later(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    at = datetime.fromisoformat(req.params["at"])
    instance_id = await client.schedule_new_orchestration("fan_out", input=2, start_at=at)
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def fan_out(context: df.DurableOrchestrationContext):
    count = context.get_input()
    results = yield context.task_all([context.call_activity("square", n) for n in range(count)])
    return sum(results)


@app.activity_trigger(input_name="n")
def square(n: int) -> int:
    return n * n


@app.orchestration_trigger(context_name="context")
def parent(context: df.DurableOrchestrationContext):
    context.set_custom_status("calling the child")
    return (yield context.call_sub_orchestrator("child", context.get_input(), f"{context.instance_id}-child"))


@app.orchestration_trigger(context_name="context")
def child(context: df.DurableOrchestrationContext):
    if context.get_input() == "fail":
        yield context.call_activity("fails", "from the child")
    return [context.parent_instance_id, (yield context.call_activity("square", 3))]


@app.orchestration_trigger(context_name="context")
def approval(context: df.DurableOrchestrationContext):
    seconds = context.get_input() or 60
    timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=seconds))
    event = context.wait_for_external_event("decision")
    first = yield context.task_any([event, timer])
    if first == timer:
        return "too late"
    timer.cancel()
    return {"decision": event.result}


@app.orchestration_trigger(context_name="context")
def retried(context: df.DurableOrchestrationContext):
    return (yield context.call_activity_with_retry("fails_twice", waiting, context.instance_id))


@app.activity_trigger(input_name="key")
def fails_twice(key: str) -> int:
    attempts[key] = attempts.get(key, 0) + 1
    if attempts[key] < 3:
        raise ConnectionError(f"attempt {attempts[key]}")
    return attempts[key]


class OutOfStockError(Exception):
    """A failure of the app's own making."""


@app.orchestration_trigger(context_name="context")
def catches(context: df.DurableOrchestrationContext):
    try:
        yield context.call_activity("fails", "no beans: none at all")
    except Exception as error:
        details = error.details  # of a TaskFailedError, which the compatible API hides
        return {"type": details.error_type, "message": details.message, "stack": details.stack_trace}


@app.orchestration_trigger(context_name="context")
def uncaught(context: df.DurableOrchestrationContext):
    yield context.call_activity("fails", "still broken")


@app.orchestration_trigger(context_name="context")
def recovers(context: df.DurableOrchestrationContext):
    before = yield context.call_activity("square", 2)
    yield context.call_activity("needs_file", context.get_input())
    return before


@app.activity_trigger(input_name="path")
def needs_file(path: str) -> None:
    Path(path).read_text()


@app.activity_trigger(input_name="message")
def fails(message: str) -> None:
    raise OutOfStockError(message)


@app.activity_trigger(input_name="nothing")
def silent(nothing: str) -> None:
    raise ValueError


@app.orchestration_trigger(context_name="context")
def calls_nobody(context: df.DurableOrchestrationContext):
    yield context.call_activity("nobody", 1)


@app.orchestration_trigger(context_name="context")
def calls_silent(context: df.DurableOrchestrationContext):
    yield context.call_activity("silent", None)


@app.orchestration_trigger(context_name="context")
def forever(context: df.DurableOrchestrationContext):
    """Three generations, each with a timer that the next one must not see fire."""
    generation = context.get_input() or 0
    if generation == 2:
        late = context.create_timer(context.current_utc_datetime + timedelta(seconds=60))
        event = context.wait_for_external_event("go")
        first = yield context.task_any([late, event])
        return "fired" if first == late else event.result
    context.create_timer(context.current_utc_datetime + timedelta(seconds=0.3))
    yield context.call_activity("square", generation)
    context.continue_as_new(generation + 1)


@app.orchestration_trigger(context_name="context")
def counts(context: df.DurableOrchestrationContext):
    counter = df.EntityId("counter", context.get_input())
    context.signal_entity(counter, "add", 2)
    yield context.call_entity(counter, "add", 3)
    return (yield context.call_entity(counter, "get"))


@app.entity_trigger(context_name="context", entity_name="counter")
def counter_entity(context: df.DurableEntityContext) -> None:
    value = context.get_state(lambda: 0)
    match context.operation_name:
        case "add":
            value += context.get_input()
        case "boom":
            raise OutOfStockError("entity")
    context.set_state(value)
    context.set_result(value)


@app.orchestration_trigger(context_name="context")
def traced(context: df.DurableOrchestrationContext):
    return (yield context.call_activity("tell_trace", None))


@app.activity_trigger(input_name="nothing")
def tell_trace(nothing: str, context: func.Context) -> str:
    logging.warning("telling the trace")
    return context.trace_context.Traceparent


@app.orchestration_trigger(context_name="context")
def calls_http(context: df.DurableOrchestrationContext):
    response = yield context.call_http("GET", context.get_input())
    return response.status_code


@app.orchestration_trigger(context_name="context")
def big(context: df.DurableOrchestrationContext):
    return "x" * context.get_input()


@app.orchestration_trigger(context_name="context")
def hangs(context: df.DurableOrchestrationContext):
    yield context.call_activity("sleeps", None)


@app.activity_trigger(input_name="nothing")
def sleeps(nothing: str) -> None:
    logging.warning("asleep")
    time.sleep(3600)


@app.orchestration_trigger(context_name="context")
def crowd(context: df.DurableOrchestrationContext):
    return (yield context.task_all([context.call_activity("counts_company", None) for _ in range(context.get_input())]))


present: set[object] = set()


@app.activity_trigger(input_name="nothing")
async def counts_company(nothing: str) -> int:
    """How many of these run right now."""
    me = object()
    present.add(me)
    await asyncio.sleep(0.02)
    company = len(present)
    present.discard(me)
    return company


@app.orchestration_trigger(context_name="context")
def leaves_work_behind(context: df.DurableOrchestrationContext):
    """Calls an activity that it does not wait for; the next generation calls one under the same task id."""
    if context.get_input() != "again":
        context.call_activity("takes", {"seconds": 0.1, "answer": "old"})
        yield context.call_activity("square", 1)
        context.continue_as_new("again")
        return None
    return (yield context.call_activity("takes", {"seconds": 0.4, "answer": "new"}))


@app.activity_trigger(input_name="work")
async def takes(work: dict) -> str:
    await asyncio.sleep(work["seconds"])
    return work["answer"]
