"""Erasure where the state is in Cosmos DB."""

import asyncio
import json

import httpx

from perdure.bootstrap import open_documents
from perdure.documents.containers import CONTAINERS
from perdure.settings import Settings
from tests.app import App, ScriptedProvider, until
from tests.cosmos.endpoint import CosmosEndpoint
from tests.openai_server import Answer

SECRET = "glockenspiel"


def everything(endpoint: CosmosEndpoint) -> str:
    """All documents of the tenant in every container, as JSON."""
    settings = {"PERDURE_STATE": "cosmos", "COSMOS_ENDPOINT": endpoint.url, "COSMOS_KEY": endpoint.key}

    async def read() -> str:
        documents = open_documents(Settings.from_env(settings))
        try:
            pages = [
                await documents.page(container, (tenant,), limit=10_000)
                for container in CONTAINERS
                for tenant in ("default", "system")
            ]
            return json.dumps([stored.body for page in pages for stored in page.items])
        finally:
            await documents.close()

    return asyncio.run(read())


def test_an_erased_user_leaves_no_trace_in_any_container(
    app: App, provider: ScriptedProvider, endpoint: CosmosEndpoint
) -> None:
    client = app.client_for(app.make_key("gwen"))
    query = provider.plan(f"I play the {SECRET}", [Answer(f"A fine {SECRET}.")])
    started = client.post("/agent/task", json={"query": query, "thread_id": SECRET}).raise_for_status().json()
    until(lambda: client.get(f"/agent/task/{started['task_id']}"), lambda response: response.status_code == 200)
    document = {"title": "Music", "text": f"# {SECRET}\n\nThe {SECRET} has bars of steel."}
    loaded = client.post("/memory/documents", json=document).raise_for_status().json()
    until(lambda: httpx.get(loaded["statusQueryGetUri"]), lambda response: response.status_code == 200)
    assert everything(endpoint).count(SECRET) > 5
    receipt = app.client.delete("/users/gwen")
    assert (receipt.status_code, receipt.json()["status"]) == (200, "completed"), receipt.text
    assert everything(endpoint).count(SECRET) == 0
