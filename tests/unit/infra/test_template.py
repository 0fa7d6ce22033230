"""What the template deploys: who gets in with what, who may do what, and that it is all there in every combination."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from perdure.documents.containers import CONTAINERS
from perdure.documents.cosmos_containers import resource
from tests.unit.infra.bicep import parse, walk, words
from tests.unit.infra.bicep_functions import BicepError, Runtime
from tests.unit.infra.bicep_resources import Deployment, Resource
from tests.unit.infra.conftest import INFRA, combinations, deployed

type Everywhere = list[tuple[dict[str, Any], Deployment]]

ROLES: dict[str, str] = json.loads((INFRA / "roles.json").read_text("utf-8"))

KEYLESS = {
    "Microsoft.Storage/storageAccounts": {"allowSharedKeyAccess": False},
    "Microsoft.DocumentDB/databaseAccounts": {"disableLocalAuth": True, "disableKeyBasedMetadataWriteAccess": True},
    "Microsoft.CognitiveServices/accounts": {"disableLocalAuth": True},
    "Microsoft.Insights/components": {"DisableLocalAuth": True},
    "Microsoft.KeyVault/vaults": {"enableRbacAuthorization": True},
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": {"allow": False},
}
"""How each type is told that keys and passwords are not accepted."""

NO_KEYS = {
    "Microsoft.ApiManagement/service", "Microsoft.DurableTask/schedulers", "Microsoft.Network/virtualNetworks",
    "Microsoft.Network/networkSecurityGroups", "Microsoft.Network/privateDnsZones", "Microsoft.Insights/actionGroups",
    "Microsoft.Network/privateEndpoints", "Microsoft.ManagedIdentity/userAssignedIdentities", "Microsoft.Web/sites",
    "Microsoft.Web/serverfarms", "Microsoft.Resources/resourceGroups", "Microsoft.Insights/scheduledQueryRules",
    "Microsoft.Insights/metricAlerts", "Microsoft.Consumption/budgets", "Microsoft.Authorization/roleAssignments",
    "Microsoft.OperationalInsights/workspaces",
}  # fmt: skip
"""Types that have no keys of their own, or whose keys are switched off by a child or a feature that a test names."""


def holds(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(found.get(name) == value for name, value in wanted.items())


def texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for item in value.values() for text in texts(item)]
        case list():
            return [text for item in value for text in texts(item)]
        case _:
            return []


def test_every_combination_of_the_switches_can_be_deployed(everywhere: Everywhere) -> None:
    assert len(everywhere) == len(list(combinations()))
    for switches, deployment in everywhere:
        paths = [found.path for found in deployment.resources]
        assert len(set(paths)) == len(paths), switches


def test_every_kind_of_resource_refuses_keys_or_has_none(everywhere: Everywhere) -> None:
    for switches, deployment in everywhere:
        for found in deployment.resources:
            if found.type in KEYLESS:
                assert holds(found.properties, KEYLESS[found.type]), (switches, found.path)
            else:
                top = "/".join(found.type.split("/")[:2])
                assert top in KEYLESS or top in NO_KEYS, f"say in KEYLESS how {found.type} is told to take no keys"
        assert {found.name for found in deployment.of("Microsoft.Web/sites/basicPublishingCredentialsPolicies")} == {
            "ftp",
            "scm",
        }
        assert deployment.one("Microsoft.OperationalInsights/workspaces").properties["features"]["disableLocalAuth"]


def test_no_key_leaves_the_template_and_none_enters_it(everywhere: Everywhere) -> None:
    for path in INFRA.rglob("*.bicep"):
        assert not re.search(r"list[A-Z]\w*\(|primaryKey|AccountKey|SharedAccess|InstrumentationKey", path.read_text())
    for _, deployment in everywhere:
        said = " ".join(texts(deployment.outputs)) + " ".join(deployment.outputs)
        assert not re.search(r"ConnectionString|CONNECTION_STRING|secrets/|_KEY\b(?!_VAULT)", said)


def test_no_output_of_a_module_is_a_connection_string_or_secret() -> None:
    for path in INFRA.rglob("*.bicep"):
        for node in parse(path).named_children:
            if node.type == "output_declaration":
                assert not re.search(r"(?i)connection_?string|secret|password|token", words(node)), words(node)


def test_what_is_secret_is_a_reference_to_the_vault(everywhere: Everywhere) -> None:
    for _, deployment in everywhere:
        vault = f"<{deployment.one('Microsoft.KeyVault/vaults').path} properties.vaultUri>secrets/"
        for name, value in settings_of(deployment).items():
            if name.endswith("_KEY"):
                assert re.fullmatch(rf"@Microsoft\.KeyVault\(SecretUri={re.escape(vault)}[a-z-]+\)", value), name


def settings_of(deployment: Deployment) -> dict[str, str]:
    assert "appSettings" not in deployment.one("Microsoft.Web/sites").properties["siteConfig"]
    settings = deployment.one("Microsoft.Web/sites/config")
    assert settings.path == f"{deployment.one('Microsoft.Web/sites').path}/appsettings"
    return settings.properties


def granted(deployment: Deployment) -> set[tuple[str, str, str]]:
    """Who (by the last word of where its id comes from), which role, on what."""
    by_id = {id: name for name, id in ROLES.items()}

    def who(principal: str) -> str:
        return "app" if isinstance(principal, Runtime) else principal

    found = {
        (
            who(assignment.properties["principalId"]),
            by_id[assignment.properties["roleDefinitionId"].rsplit("/", 1)[1]],
            assignment.on or "",
        )
        for assignment in deployment.of("Microsoft.Authorization/roleAssignments")
    }
    for assignment in deployment.of("Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments"):
        role = by_id[assignment.properties["roleDefinitionId"].rsplit("/", 1)[1]]
        found.add((who(assignment.properties["principalId"]), role, assignment.properties["scope"].lstrip("/")))
    return found


def test_the_app_has_every_role_it_needs_and_no_other(everywhere: Everywhere) -> None:
    for switches, deployment in everywhere:
        storage = deployment.one("Microsoft.Storage/storageAccounts").path
        database = deployment.one("Microsoft.DocumentDB/databaseAccounts").path
        needed = {
            ("app", "storageBlobDataOwner", storage),
            ("app", "storageQueueDataContributor", storage),
            ("app", "storageTableDataContributor", storage),
            ("app", "cosmosDataContributor", f"{database}/dbs/perdure"),
            ("app", "monitoringMetricsPublisher", deployment.one("Microsoft.Insights/components").path),
            ("app", "keyVaultSecretsUser", deployment.one("Microsoft.KeyVault/vaults").path),
        }
        for model in deployment.of("Microsoft.CognitiveServices/accounts"):
            needed.add(("app", "cognitiveServicesOpenAIUser", model.path))
        for hub in deployment.of("Microsoft.DurableTask/schedulers/taskHubs"):
            needed.add(("app", "durableTaskDataContributor", hub.path))
        assert granted(deployment) == needed, switches


def test_whoever_deploys_may_read_the_first_key_and_nothing_else() -> None:
    without, with_one = deployed(), deployed(principalId="deployer")
    vault = with_one.one("Microsoft.KeyVault/vaults").path
    assert granted(with_one) - granted(without) == {("deployer", "keyVaultSecretsUser", vault)}


def test_a_role_has_the_id_that_azure_documents_for_it() -> None:
    """https://learn.microsoft.com/azure/role-based-access-control/built-in-roles; Cosmos DB has ids of its own."""
    assert ROLES == {
        "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
        "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
        "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
        "cognitiveServicesOpenAIUser": "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd",
        "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
        "durableTaskDataContributor": "0ad04412-c4d5-4796-b79c-f76d14c8d402",
        "cosmosDataContributor": "00000000-0000-0000-0000-000000000002",
    }


def test_every_role_in_the_list_is_used() -> None:
    used = granted(deployed(durableTaskScheduler="Dedicated"))
    assert {role for _, role, _ in used} == set(ROLES)


@pytest.mark.parametrize("path", sorted(INFRA.rglob("*.bicep")), ids=lambda path: path.stem)
def test_every_file_that_a_template_speaks_of_is_there(path: Path) -> None:
    for name in re.findall(r"\b((?:infra|perdure|docs|tests)/[\w./-]+\.\w+)", path.read_text("utf-8")):
        assert (INFRA.parent / name).exists(), name


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: container.name)
def test_a_container_is_as_the_code_says_in_every_field(container: Any) -> None:
    found = deployed(embeddingDimensions=256).of("Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers")
    by_name = {each.name: each.properties["resource"] for each in found}
    wanted = resource(container, 256)
    paths = ", ".join(f"'{each['path']}'" for each in wanted["indexingPolicy"]["excludedPaths"])
    advice = (
        f"infra/modules/cosmos.bicep wants for {container.name} {wanted['partitionKey']['paths']}, excluded: [{paths}]"
    )
    assert by_name.get(container.name) == wanted, advice


def test_there_are_no_other_containers_and_the_database_searches_vectors_without_provisioned_throughput() -> None:
    deployment = deployed()
    found = deployment.of("Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers")
    assert {each.name for each in found} == {container.name for container in CONTAINERS}
    capabilities = deployment.one("Microsoft.DocumentDB/databaseAccounts").properties["capabilities"]
    assert capabilities == [{"name": "EnableServerless"}, {"name": "EnableNoSQLVectorSearch"}]
    assert all("options" not in each.properties for each in found)


CLOSED = {
    "Microsoft.Storage/storageAccounts", "Microsoft.DocumentDB/databaseAccounts", "Microsoft.KeyVault/vaults",
    "Microsoft.CognitiveServices/accounts", "Microsoft.DurableTask/schedulers",
}  # fmt: skip


def test_a_private_network_closes_every_public_door_and_opens_a_private_one_to_each(everywhere: Everywhere) -> None:
    for switches, deployment in everywhere:
        private = switches["privateNetwork"]
        for found in deployment.resources:
            if found.type in CLOSED:
                assert found.properties["publicNetworkAccess"] == ("Disabled" if private else "Enabled")
        api = deployment.one("Microsoft.Web/sites")
        api_is_private = private and switches["privateApi"]
        assert api.properties["publicNetworkAccess"] == ("Disabled" if api_is_private else "Enabled")
        assert ("virtualNetworkSubnetId" in api.properties) == private
        reached = {linked(endpoint) for endpoint in deployment.of("Microsoft.Network/privateEndpoints")}
        doors = {found.path for found in deployment.resources if found.type in CLOSED and private}
        assert {path for path, _ in reached} == doors | ({api.path} if api_is_private else set())
        if private:
            storage = deployment.one("Microsoft.Storage/storageAccounts").path
            assert {(storage, kind) for kind in ("blob", "queue", "table")} <= reached
        zones = deployment.of("Microsoft.Network/privateDnsZones")
        assert len(zones) == len(reached)
        assert bool(deployment.of("Microsoft.Network/virtualNetworks")) == private


ZONES = {
    "blob": "privatelink.blob.core.windows.net", "queue": "privatelink.queue.core.windows.net",
    "table": "privatelink.table.core.windows.net", "Sql": "privatelink.documents.azure.com",
    "vault": "privatelink.vaultcore.azure.net", "account": "privatelink.openai.azure.com",
    "scheduler": "privatelink.durabletask.io", "sites": "privatelink.azurewebsites.net",
}  # fmt: skip
"""The zone of each kind of private endpoint: https://learn.microsoft.com/azure/private-link/private-endpoint-dns"""


def test_a_private_endpoint_is_found_under_the_name_that_azure_resolves() -> None:
    private = deployed(privateNetwork=True, privateApi=True, durableTaskScheduler="Consumption")
    groups = private.of("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")
    zones = {group.path.split("/")[2]: group.properties["privateDnsZoneConfigs"] for group in groups}
    found = {}
    for endpoint in private.of("Microsoft.Network/privateEndpoints"):
        (zone,) = zones[endpoint.name]
        found[linked(endpoint)[1]] = zone["properties"]["privateDnsZoneId"].rpartition("/")[2]
    assert found == ZONES


def linked(endpoint: Resource) -> tuple[str, str]:
    (connection,) = endpoint.properties["privateLinkServiceConnections"]
    (group,) = connection["properties"]["groupIds"]
    return connection["properties"]["privateLinkServiceId"].lstrip("/"), group


def test_zone_redundancy_reaches_all_that_can_have_it() -> None:
    zoned = deployed(zoneRedundant=True, durableTaskScheduler="Dedicated")
    assert zoned.one("Microsoft.Web/serverfarms").properties["zoneRedundant"] is True
    assert zoned.one("Microsoft.Storage/storageAccounts").body["sku"]["name"] == "Standard_ZRS"
    assert zoned.one("Microsoft.DocumentDB/databaseAccounts").properties["locations"][0]["isZoneRedundant"] is True
    assert zoned.one("Microsoft.DurableTask/schedulers").properties["sku"]["capacity"] == 3


def test_what_is_kept_lies_in_the_region_that_was_named_for_it() -> None:
    placed = deployed(dataLocation="there", modelLocation="elsewhere", privateNetwork=True)
    by_region: dict[str, set[str]] = {}
    for found in placed.resources:
        if "location" in found.body:
            by_region.setdefault(found.body["location"], set()).add(found.type)
    assert by_region["there"] == {"Microsoft.DocumentDB/databaseAccounts"}
    assert by_region["elsewhere"] == {"Microsoft.CognitiveServices/accounts"}
    assert placed.one("Microsoft.DocumentDB/databaseAccounts").properties["locations"][0]["locationName"] == "there"


def test_the_app_fetches_its_package_from_its_own_storage_as_itself() -> None:
    deployment = deployed()
    storage = deployment.one("Microsoft.Storage/storageAccounts")
    container = deployment.one("Microsoft.Storage/storageAccounts/blobServices/containers")
    (identity,) = deployment.one("Microsoft.Web/sites").body["identity"]["userAssignedIdentities"]
    assert deployment.one("Microsoft.Web/sites").properties["functionAppConfig"]["deployment"]["storage"] == {
        "type": "blobContainer",
        "value": f"<{storage.path} properties.primaryEndpoints.blob>{container.name}",
        "authentication": {"type": "UserAssignedIdentity", "userAssignedIdentityResourceId": identity},
    }
    assert identity == f"/{deployment.one('Microsoft.ManagedIdentity/userAssignedIdentities').path}"
    assert deployment.one("Microsoft.Web/sites").properties["keyVaultReferenceIdentity"] == identity


def test_always_ready_instances_are_as_many_as_asked_for() -> None:
    def ready(**parameters: Any) -> Any:
        app = deployed(**parameters).one("Microsoft.Web/sites")
        return app.properties["functionAppConfig"]["scaleAndConcurrency"]["alwaysReady"]

    assert ready() == [{"name": "durable", "instanceCount": 1}]
    assert ready(alwaysReadyDurable=0, alwaysReadyHttp=2) == [{"name": "http", "instanceCount": 2}]
    assert ready(alwaysReadyDurable=0) == []
    # https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#always-ready-instances
    assert ready(zoneRedundant=True) == [{"name": "durable", "instanceCount": 2}]
    assert ready(zoneRedundant=True, alwaysReadyDurable=0, alwaysReadyHttp=3) == [{"name": "http", "instanceCount": 3}]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"environmentName": ""}, "minLength"),
        ({"embeddingDimensions": 5000}, "maxValue"),
        ({"durableTaskScheduler": "Free"}, "allowed"),
        ({"privateNetwork": "yes"}, "no bool"),
        ({"nonsense": 1}, "no parameter"),
    ],
)
def test_a_wrong_parameter_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(BicepError, match=said):
        deployed(**wrong)


def test_a_resource_keeps_its_version_wherever_it_is_named() -> None:
    versions: dict[str, set[str]] = {}
    for path in INFRA.rglob("*.bicep"):
        for node in walk(parse(path)):
            if node.type == "resource_declaration":
                kind, version = words(node.named_children[1]).strip("'").split("@")
                versions.setdefault(kind.split("/")[0] + "/" + kind.split("/")[1], set()).add(version)
    assert {kind: found for kind, found in versions.items() if len(found) > 1} == {}
    assert not any("preview" in version for found in versions.values() for version in found)
