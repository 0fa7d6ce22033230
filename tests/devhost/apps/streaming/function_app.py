"""A streaming app: FastAPI requests and responses, a durable client, one orchestrator and one activity."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request, StreamingResponse

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
gate = asyncio.Event()
ended = asyncio.Event()


@app.route("orchestrators/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: Request, client: df.DurableFunctionsClient) -> JSONResponse:
    instance_id = await client.start_new(req.path_params["name"], client_input=await req.json())
    return JSONResponse(dict(client.create_http_management_payload(req, instance_id)), 202)


@app.orchestration_trigger(context_name="context")
def greet_all(context: df.DurableOrchestrationContext):
    names = context.get_input()
    return (yield context.task_all([context.call_activity("greet", name) for name in names]))


@app.activity_trigger(input_name="name")
def greet(name: str) -> str:
    return f"Hello {name}!"


@app.route("ticks", methods=["GET"])
async def ticks(req: Request) -> StreamingResponse:
    """Two events, the second only once the gate is open; then it waits for the client to go."""
    return StreamingResponse(_ticks(), media_type="text/event-stream")


async def _ticks() -> AsyncIterator[str]:
    try:
        yield "data: 1\n\n"
        await gate.wait()
        yield "data: 2\n\n"
        await asyncio.Event().wait()
    finally:
        logging.info("the stream has ended")
        ended.set()


@app.route("gate", methods=["POST"])
async def open_gate(req: Request) -> dict:
    gate.set()
    return {}


@app.route("ended", methods=["GET"])
async def wait_for_end(req: Request) -> dict:
    """Answers once a stream of ticks has ended."""
    await ended.wait()
    return {}


@app.route("upload", methods=["POST"])
async def upload(req: Request) -> JSONResponse:
    """Counts the chunks of the body as they come."""
    sizes = [len(chunk) async for chunk in req.stream()]
    return JSONResponse({"bytes": sum(sizes), "chunks": len(sizes)})


@app.route("document", methods=["GET"])
async def document(req: Request) -> dict:
    return {"setting": os.environ.get("GREETING")}


@app.route("failing", methods=["GET"])
async def failing(req: Request) -> JSONResponse:
    raise LookupError("no such thing")


@app.route("nothing", methods=["GET"])
async def nothing(req: Request) -> JSONResponse:
    return None


@app.route("breaks", methods=["GET"])
async def breaks(req: Request) -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        yield "before"
        raise LookupError("in the middle of a stream")

    return StreamingResponse(chunks())


@app.route("slow", methods=["GET"])
async def slow(req: Request) -> JSONResponse:
    logging.info("slow has begun")
    await asyncio.sleep(0.5)
    return JSONResponse("done")
