"""An app that exports the histories of what has ended into a folder (durabletask.extensions.history_export)."""

import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import azure.durable_functions as df
import azure.functions as func
from durabletask.extensions.history_export import (
    AsyncExportHistoryClient,
    ExportDestination,
    ExportFormat,
    ExportFormatKind,
    ExportJobCreationOptions,
    ExportMode,
)


class Folder:
    """Writes histories to files below EXPORTS; one it does not get to the end of while DISK is ``hangs``."""

    def write(
        self,
        *,
        instance_id: str,
        container: str,
        blob_name: str,
        payload: bytes,
        content_type: str,
        content_encoding: str | None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        path = Path(os.environ["EXPORTS"]) / container / f"{instance_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.environ.get("DISK") == "hangs" and instance_id.endswith("2"):
            path.with_suffix(".begun").touch()
            time.sleep(3600)
        path.write_bytes(payload)


app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
writer = Folder()
app.configure_history_export(writer)


@app.orchestration_trigger(context_name="context")
def double(context: df.DurableOrchestrationContext):
    return (yield context.call_activity("twice", context.get_input()))


@app.activity_trigger(input_name="n")
def twice(n: int) -> int:
    return 2 * n


@app.route("exports/{job}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def export(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    options = ExportJobCreationOptions(
        ExportMode.BATCH,
        datetime.fromisoformat(req.params["since"]),
        ExportDestination("histories"),
        completed_time_to=datetime.now(UTC),
        format=ExportFormat(kind=ExportFormatKind.JSON),
    )
    await AsyncExportHistoryClient(client, writer).create_job(options, job_id=req.route_params["job"])
    return func.HttpResponse(status_code=202)


@app.route("exports/{job}")
@app.durable_client_input(client_name="client")
async def progress(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    job = await AsyncExportHistoryClient(client, writer).get_job(req.route_params["job"])
    if job is None:
        return func.HttpResponse(status_code=404)
    found = {"status": job.status.name, "exported": job.exported_instances, "failed": job.failed_instances}
    return func.HttpResponse(json.dumps(found), mimetype="application/json")
