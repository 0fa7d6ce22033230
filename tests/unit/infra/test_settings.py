"""Three places say what the app is told: the code that reads it, the template, and host.json. They agree."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from perdure.settings import ROOT, Settings
from tests.unit.infra.bicep_resources import Deployment
from tests.unit.infra.conftest import INFRA, deployed
from tests.unit.infra.test_template import settings_of
from tests.unit.test_repository import settings_of_the_code

type Everywhere = list[tuple[dict[str, Any], Deployment]]

FOR_THE_HOST = {
    "AzureWebJobsStorage__credential": "the host's storage by identity",
    "AzureWebJobsStorage__clientId": "whose identity",
    "AzureWebJobsStorage__blobServiceUri": "locks, large messages",
    "AzureWebJobsStorage__queueServiceUri": "the task hub's queues",
    "AzureWebJobsStorage__tableServiceUri": "the task hub's history",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "where telemetry of host and app goes; the resource refuses keys",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "as whom telemetry is sent",
    "AZURE_CLIENT_ID": "the identity that azure-identity takes",
    "PYTHON_ENABLE_OPENTELEMETRY": "the worker hands the app the host's trace, and leaves logs to the app",
    "PYTHON_ENABLE_INIT_INDEXING": "functions are indexed while the worker starts",
    "PYTHON_ISOLATE_WORKER_DEPENDENCIES": "the worker's packages are kept apart from the app's",
    "DURABLE_TASK_SCHEDULER_CONNECTION_STRING": "address and identity for the scheduler; no key, for it has none",
}
"""Settings that the host or an Azure SDK reads, and not the app."""

NEVER = {"COSMOS_KEY": "for emulators", "AZURE_OPENAI_API_KEY": "Microsoft Entra ID instead"}
"""Settings of the app that no deployment may have."""

SAID_OTHERWISE = {
    "AzureWebJobsStorage": "by the AzureWebJobsStorage__ settings",
    "FUNCTIONS_WORKER_RUNTIME": "by functionAppConfig.runtime; Flex Consumption refuses the setting",
}
"""Settings of local.settings.json.example for the host that are said otherwise in Azure."""

DEPRECATED = (
    "FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_RUN_FROM_PACKAGE", "WEBSITE_CONTENTSHARE",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING", "SCM_DO_BUILD_DURING_DEPLOYMENT", "ENABLE_ORYX_BUILD",
    "WEBSITE_TIME_ZONE", "TZ", "FUNCTIONS_WORKER_PROCESS_COUNT", "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
)  # fmt: skip
"""Flex Consumption ignores or refuses these:
https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations"""

REFUSED = {
    "alwaysOn", "ftpsState", "functionAppScaleLimit", "functionsRuntimeScaleMonitoringEnabled", "linuxFxVersion",
    "minimumElasticInstanceCount", "netFrameworkVersion", "preWarmedInstanceCount", "pythonVersion",
    "use32BitWorkerProcess", "vnetRouteAllEnabled",
}  # fmt: skip
"""And a site with one of these in its siteConfig cannot be deployed at all: the same page, and
https://github.com/microsoft/azure-pipelines-tasks/issues/21032"""

HOST_JSON = {
    "version": "the host",
    "telemetryMode": "the host",
    "logging.logLevel.default": "the host and the devhost",
    "logging.logLevel.Host.Results": "the host and the devhost",
    "logging.logLevel.Function": "the host and the devhost",
    "extensions.http.routePrefix": "the host and the devhost",
    "extensions.durableTask.hubName": "the Durable extension, the scale controller, the devhost",
    "extensions.durableTask.maxConcurrentActivityFunctions": "the Durable extension and the devhost",
    "extensions.durableTask.maxConcurrentOrchestratorFunctions": "the Durable extension and the devhost",
    "extensions.durableTask.storageProvider.type": "the Durable extension and the scale controller",
    "extensions.durableTask.storageProvider.partitionCount": "the Durable extension and the scale controller",
    "extensions.durableTask.storageProvider.maxQueuePollingInterval": "the Durable extension",
    "extensionBundle.id": "the host",
    "extensionBundle.version": "the host",
}
"""Every line of host.json, and who reads it:
https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-bindings#host-json"""


def test_every_setting_that_is_deployed_is_read_by_the_app_or_by_the_host(everywhere: Everywhere) -> None:
    deployed_somewhere = {name for _, deployment in everywhere for name in settings_of(deployment)}
    unread = deployed_somewhere - settings_of_the_code() - set(FOR_THE_HOST)
    assert unread == set(), "nothing reads these; is a name misspelt in infra/modules/function_app.bicep?"
    assert set(FOR_THE_HOST) <= deployed_somewhere
    assert set(FOR_THE_HOST) & settings_of_the_code() == set()


def test_no_deployment_has_a_setting_it_must_not_have(everywhere: Everywhere) -> None:
    for switches, deployment in everywhere:
        assert not set(settings_of(deployment)) & {*NEVER, *DEPRECATED}, switches


def test_the_app_asks_for_nothing_that_flex_consumption_refuses() -> None:
    assert not deployed().one("Microsoft.Web/sites").properties["siteConfig"].keys() & REFUSED


def test_the_app_understands_what_it_is_told_and_has_a_default_for_the_rest(everywhere: Everywhere) -> None:
    """A setting without a default, or whose default is wrong in Azure, must be added to function_app.bicep."""
    for switches, deployment in everywhere:
        settings = Settings.from_env(as_the_app_sees_them(settings_of(deployment)))
        assert settings.state == "cosmos"
        assert settings.cosmos_endpoint and settings.cosmos_key is None
        assert settings.admin_key
        assert settings.has_model
        assert bool(settings.azure_openai_endpoint) == (switches["modelProvider"] == "azureOpenAI")
        assert bool(settings.openai_api_key) == (switches["modelProvider"] == "openAI")
        assert settings.azure_openai_api_key is None
        wanted = switches["embeddingModel"]
        assert settings.embedding_model == (None if wanted == "none" else wanted)
        assert bool(settings.public_url) == bool(switches["apiManagementSku"])
        memories = next(each for each in deployment.resources if each.path.endswith("/perdure/memories"))
        (vector,) = memories.properties["resource"]["vectorEmbeddingPolicy"]["vectorEmbeddings"]
        assert settings.embedding_dimensions == vector["dimensions"]
        database = deployment.one("Microsoft.DocumentDB/databaseAccounts/sqlDatabases")
        assert settings.cosmos_database == database.name


def as_the_app_sees_them(settings: dict[str, str]) -> dict[str, str]:
    """With addresses for what only Azure knows, and the secrets that are referred to."""

    def resolve(value: str) -> str:
        if value.startswith("@Microsoft.KeyVault("):
            return "a-secret-of-many-characters-0123456789"
        return re.sub(r"<[^>]+>", "https://known.only.to.azure", value)

    return {name: resolve(value) for name, value in settings.items()}


def test_the_model_and_its_deployment_have_one_name() -> None:
    deployment = deployed(chatModel="gpt-x", embeddingModel="embed-x")
    names = {each.name for each in deployment.of("Microsoft.CognitiveServices/accounts/deployments")}
    told = settings_of(deployment)
    assert names == {told["PERDURE_MODEL"], told["PERDURE_EMBEDDING_MODEL"]} == {"gpt-x", "embed-x"}


@pytest.mark.parametrize("name", sorted(settings_of_the_code() - set(NEVER)))
def test_any_setting_of_the_app_can_be_given_to_a_deployment(name: str) -> None:
    assert settings_of(deployed_with({name: "given"}))[name] == "given"


def deployed_with(settings: dict[str, str]) -> Deployment:
    from tests.unit.infra.bicep import evaluate
    from tests.unit.infra.conftest import REQUIRED

    return evaluate(INFRA / "main.bicep", REQUIRED | {"settings": settings})


def test_what_the_host_is_told_on_a_laptop_it_is_told_in_azure_too() -> None:
    example = json.loads((ROOT / "local.settings.json.example").read_text("utf-8"))["Values"]
    for_the_host = set(example) - settings_of_the_code()
    told = settings_of(deployed())
    assert for_the_host - set(SAID_OTHERWISE) == {"PYTHON_ENABLE_INIT_INDEXING", "PYTHON_ISOLATE_WORKER_DEPENDENCIES"}
    for name in for_the_host - set(SAID_OTHERWISE):
        assert told[name] == example[name]
    runtime = deployed().one("Microsoft.Web/sites").properties["functionAppConfig"]["runtime"]
    assert runtime == {"name": example["FUNCTIONS_WORKER_RUNTIME"], "version": "3.13"}


def host_json() -> dict[str, Any]:
    return json.loads((ROOT / "host.json").read_text("utf-8"))


def lines(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {name: leaf for key, item in value.items() for name, leaf in lines(item, f"{path}.{key}".strip(".")).items()}


def test_every_line_of_host_json_is_read_by_somebody_and_every_known_one_is_there() -> None:
    assert set(lines(host_json())) == set(HOST_JSON)


def test_the_scheduler_has_a_task_hub_of_the_name_in_host_json() -> None:
    hub = deployed(durableTaskScheduler="Consumption").one("Microsoft.DurableTask/schedulers/taskHubs")
    assert hub.name == host_json()["extensions"]["durableTask"]["hubName"]
    assert re.fullmatch(r"[a-zA-Z0-9-]{3,64}", hub.name)


def test_the_package_for_the_scheduler_names_the_setting_that_the_template_makes() -> None:
    script = (ROOT / ".ci" / "package.py").read_text("utf-8")
    (name,) = re.findall(r'"connectionStringName": "(\w+)"', script)
    assert name in settings_of(deployed(durableTaskScheduler="Dedicated"))
    assert name not in settings_of(deployed())


def test_the_host_polls_as_often_as_flex_consumption_wants() -> None:
    """Ten seconds or less: https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-azure-storage-provider#flex-consumption-plan."""
    provider = host_json()["extensions"]["durableTask"]["storageProvider"]
    hours, minutes, seconds = map(int, provider["maxQueuePollingInterval"].split(":"))
    assert (hours, minutes) == (0, 0)
    assert 1 <= seconds <= 10
    assert 1 <= provider["partitionCount"] <= 16


def test_the_settings_file_says_the_defaults_that_the_app_has() -> None:
    example = json.loads((ROOT / "local.settings.json.example").read_text("utf-8"))["Values"]
    assert Settings.from_env(example) == Settings()


def test_the_settings_file_says_what_core_tools_needs_and_the_documentation_says_what_each_line_is() -> None:
    example: dict[str, Any] = json.loads((ROOT / "local.settings.json.example").read_text("utf-8"))
    assert set(example) == {"IsEncrypted", "Values"}
    assert all(isinstance(value, str) for value in example["Values"].values())
    documented = Path(ROOT / "docs" / "core-tools.md").read_text("utf-8") + (ROOT / "README.md").read_text("utf-8")
    assert [name for name in example["Values"] if f"`{name}`" not in documented] == []
