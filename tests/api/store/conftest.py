"""One running app over Cosmos DB, with a proxy in between that fails as it is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from tests.app import App, ScriptedProvider, make_app_folder
from tests.cosmos.endpoint import CosmosEndpoint, require_node
from tests.cosmos.fault_proxy import FaultProxy
from tests.devhost_process import REPOSITORY
from tests.store_faults import COURIER, DELIVER


@pytest.fixture(scope="session")
def endpoint() -> Iterator[CosmosEndpoint]:
    require_node()
    with CosmosEndpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def proxy(endpoint: CosmosEndpoint) -> Iterator[FaultProxy]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(FaultProxy(endpoint.url)) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tool = tmp_path_factory.mktemp("tools") / "deliver.py"
    tool.write_text(DELIVER, "utf-8")
    tools = [REPOSITORY / "tests" / "fault_tools.py", tool]
    return make_app_folder(tmp_path_factory.mktemp("cosmos-app"), tools, {"courier": COURIER})


@pytest.fixture(scope="session")
def running(folder: Path, endpoint: CosmosEndpoint, proxy: FaultProxy, provider: ScriptedProvider) -> Iterator[App]:
    """This folder's app, but with its state in the endpoint behind the proxy."""
    cosmos = {"PERDURE_STATE": "cosmos", "COSMOS_ENDPOINT": proxy.url, "COSMOS_KEY": endpoint.key}
    with App(folder, cosmos | {"OPENAI_BASE_URL": provider.server.base_url, "PERDURE_MODEL": "scripted"}) as app:
        yield app
