"""An app that starts orchestrations by schedules which it makes at run time (durabletask.scheduled)."""

import json
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func
from durabletask.scheduled import AsyncScheduledTaskClient, ScheduleCreationOptions

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.configure_scheduled_tasks()


@app.orchestration_trigger(context_name="context")
def report(context: df.DurableOrchestrationContext):
    return (yield context.call_activity("write_report", context.get_input()))


@app.activity_trigger(input_name="about")
def write_report(about: str) -> str:
    return f"all is well with {about}"


@app.route("schedules/{id}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def create(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    every = timedelta(seconds=float(req.params["every"]))
    options = ScheduleCreationOptions(
        req.route_params["id"], "report", every, orchestration_input="the beans", start_immediately_if_late=True
    )
    await AsyncScheduledTaskClient(client).create_schedule(options)
    return func.HttpResponse(status_code=201)


@app.route("schedules/{id}")
@app.durable_client_input(client_name="client")
async def describe(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    schedule = await AsyncScheduledTaskClient(client).get_schedule(req.route_params["id"])
    if schedule is None:
        return func.HttpResponse(status_code=404)
    return func.HttpResponse(json.dumps({"status": schedule.status.name}), mimetype="application/json")


@app.route("schedules/{id}/{operation}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def operate(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    schedule = AsyncScheduledTaskClient(client).get_schedule_client(req.route_params["id"])
    operations = {"pause": schedule.pause, "resume": schedule.resume, "delete": schedule.delete}
    await operations[req.route_params["operation"]]()
    return func.HttpResponse(status_code=200)
