"""The patterns of Durable Functions, as its documentation shows them, in an app that knows no devhost.

What each activity does it writes down in the file EFFECTS, so that a test sees what was done more than once.
"""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import azure.durable_functions as df
import azure.functions as func
from durabletask.task import OrchestrationContext

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def note(effect: str) -> None:
    with Path(os.environ["EFFECTS"]).open("a") as file:
        file.write(f"{effect}\n")


async def upstream() -> None:
    """The service that activities call; it never answers while UPSTREAM is ``hangs``."""
    if os.environ.get("UPSTREAM") == "hangs":
        note("hangs")
        await asyncio.Event().wait()


# Fan-out, fan-in.


@app.orchestration_trigger(context_name="context")
def count_words(context: df.DurableOrchestrationContext):
    texts = context.get_input()
    counts = yield context.task_all([context.call_activity("count", text) for text in texts])
    return sum(counts)


@app.activity_trigger(input_name="text")
async def count(text: str) -> int:
    """Counts here, or upstream if the text is a question."""
    if text.endswith("?"):
        await upstream()
    note(text)
    return len(text.split())


@app.route("later/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def later(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    at = datetime.fromisoformat(req.params["at"])
    name = req.route_params["name"]
    instance_id = await client.schedule_new_orchestration(
        name, input=req.get_json(), instance_id=req.params.get("id"), start_at=at
    )
    return client.create_check_status_response(req, instance_id)


# Human interaction: somebody decides, after reminders; or it is escalated.


@app.orchestration_trigger(context_name="context")
def expense(context: df.DurableOrchestrationContext):
    every, reminders = context.get_input()
    decision = context.wait_for_external_event("Decision")
    for _ in range(reminders):
        timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=every))
        first = yield context.task_any([decision, timer])
        if first == decision:
            timer.cancel()
            return decision.result
        yield context.call_activity("remind", context.instance_id)
    return "escalated"


@app.activity_trigger(input_name="about")
def remind(about: str) -> None:
    note(f"remind {about}")


# Monitor: looks at a job again and again, each time as a new execution.


@app.orchestration_trigger(context_name="context")
def monitor(context: df.DurableOrchestrationContext):
    looked = context.get_input()
    context.set_custom_status(looked["times"])
    if (yield context.call_activity("job_is_done", looked["job"])):
        return looked["times"]
    yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=20))
    context.continue_as_new({**looked, "times": looked["times"] + 1})
    return None


@app.activity_trigger(input_name="job")
def job_is_done(job: str) -> bool:
    return Path(job).exists()


# Aggregator: sums events up, each in an execution of its own, and answers when it is told how many there are.


@app.orchestration_trigger(context_name="context")
def sum_up(context: OrchestrationContext, state: dict):
    amount = yield context.wait_for_external_event("amount")
    state = {**state, "sum": state["sum"] + amount, "left": state["left"] - 1}
    if not state["left"]:
        return state["sum"]
    context.set_custom_status(state["left"])
    context.continue_as_new(state, save_events=True)
    return None


# Sub-orchestrations.


@app.orchestration_trigger(context_name="context")
def family(context: df.DurableOrchestrationContext):
    children = [context.call_sub_orchestrator("expense", [60, 1], f"{context.instance_id}-{n}") for n in range(2)]
    return (yield context.task_all(children))


@app.orchestration_trigger(context_name="context")
def delegate(context: df.DurableOrchestrationContext):
    texts = context.get_input()
    before = yield context.call_activity("count", "said before")
    return before + (yield context.call_sub_orchestrator("count_words_in_file", texts, f"{context.instance_id}-child"))


@app.orchestration_trigger(context_name="context")
def count_words_in_file(context: df.DurableOrchestrationContext):
    text = yield context.call_activity("read", context.get_input())
    return (yield context.call_activity("count", text))


@app.activity_trigger(input_name="path")
def read(path: str) -> str:
    return Path(path).read_text()


@app.route("terminate/{id}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def terminate(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    await client.terminate_orchestration(req.route_params["id"], output="by the app", recursive=True)
    return func.HttpResponse(status_code=202)


# Entities.


@app.entity_trigger(context_name="context", entity_name="account")
def account(context: df.DurableEntityContext) -> None:
    balance = context.get_state(lambda: 0)
    match context.operation_name:
        case "add":
            balance += context.get_input()
        case "set":
            balance = context.get_input()
    context.set_state(balance)
    context.set_result(balance)


@app.orchestration_trigger(context_name="context")
def transfer(context: OrchestrationContext, order: dict):
    """Moves money in a critical section. Each account is read and then set: two at a time would lose a change."""
    giver, taker = df.EntityId("account", order["from"]), df.EntityId("account", order["to"])
    with (yield context.lock_entities([giver, taker])):
        left = yield context.call_entity(giver, "get")
        has = yield context.call_entity(taker, "get")
        if order.get("asks"):
            context.set_custom_status("asking")
            yield context.wait_for_external_event("go")
        yield context.call_entity(giver, "set", left - order["amount"])
        yield context.call_entity(taker, "set", has + order["amount"])
    return "moved"


@app.orchestration_trigger(context_name="context")
def pay_later(context: OrchestrationContext, order: dict):
    at = context.current_utc_datetime + timedelta(seconds=order["in"])
    context.signal_entity(df.EntityId("account", order["to"]), "add", order["amount"], signal_time=at)
    return at.replace(tzinfo=UTC).isoformat()


@app.route("pay/{account}/{amount}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def pay(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    at = datetime.now(UTC) + timedelta(seconds=float(req.params["in"]))
    entity = df.EntityId("account", req.route_params["account"])
    await client.signal_entity(entity, "add", int(req.route_params["amount"]), signal_time=at)
    return func.HttpResponse(at.isoformat(), status_code=202)
