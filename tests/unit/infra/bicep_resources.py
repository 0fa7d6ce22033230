"""Resources as they would be sent, and as expressions see them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.unit.infra.bicep_functions import BicepError, Runtime

FILLED_IN = {
    "Microsoft.CognitiveServices/accounts": {"properties.endpoint"},
    "Microsoft.ApiManagement/service": {"properties.gatewayUrl"},
    "Microsoft.DocumentDB/databaseAccounts": {"properties.documentEndpoint"},
    "Microsoft.DurableTask/schedulers": {"properties.endpoint"},
    "Microsoft.Insights/components": {"properties.ConnectionString"},
    "Microsoft.KeyVault/vaults": {"properties.vaultUri"},
    "Microsoft.ManagedIdentity/userAssignedIdentities": {"properties.clientId", "properties.principalId"},
    "Microsoft.Storage/storageAccounts": {f"properties.primaryEndpoints.{kind}" for kind in ("blob", "queue", "table")},
    "Microsoft.Web/sites": {"properties.defaultHostName"},
}
"""Properties that Azure adds to a resource, by type, as its REST interface documents them."""


@dataclass(frozen=True)
class Resource:
    """A resource as it would be sent.

    Attributes:
        path: `<type>/<name>/<name of child>`, without subscription and group.
        on: `path` of the resource that an extension resource, such as a role assignment, is about.
        body: Its other properties; what is null is left out.
    """

    symbol: str
    type: str
    version: str
    path: str
    on: str | None
    body: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[1]

    @property
    def properties(self) -> dict[str, Any]:
        return self.body.get("properties", {})


@dataclass
class Deployment:
    """Everything a template makes, and what it says at the end."""

    resources: list[Resource] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def of(self, type: str) -> list[Resource]:
        return [resource for resource in self.resources if resource.type == type]

    def one(self, type: str) -> Resource:
        (found,) = self.of(type)
        return found


@dataclass(frozen=True)
class Handle:
    """A resource as expressions see it."""

    type: str
    path: str

    def get(self, key: str, at: str) -> Any:
        if key == "id":
            return Runtime(f"/{self.path}")
        if key == "name":
            return self.path.rsplit("/", 1)[1]
        if key == "properties":
            return FilledIn(self, "properties")
        raise BicepError(f"{at}: a resource has no {key!r}")


@dataclass(frozen=True)
class FilledIn:
    """A way down into what Azure fills in."""

    of: Handle
    path: str

    def get(self, key: str, at: str) -> Any:
        path, known = f"{self.path}.{key}", FILLED_IN.get(self.of.type, set[str]())
        if path in known:
            return Runtime(f"<{self.of.path} {path}>")
        if any(name.startswith(f"{path}.") for name in known):
            return FilledIn(self.of, path)
        raise BicepError(f"{at}: {self.of.type} is not known to have {path}; see FILLED_IN")


@dataclass(frozen=True)
class Outputs:
    """A module as expressions see it."""

    values: Mapping[str, Any]

    def get(self, key: str, at: str) -> Any:
        if key != "outputs":
            raise BicepError(f"{at}: a module has no {key!r}")
        return self.values
