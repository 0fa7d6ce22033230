"""The built-in management API of Durable Functions, under ``/runtime/webhooks/durabletask``.

Status codes, parameters and documents follow the reference
(https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-http-api) and, where that is silent, the
extension's ``HttpApiHandler``. Everything it knows it asks the task hub. This module is the table of routes.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devhost.dispatch import Dispatcher
from devhost.keys import Keys
from devhost.management_entities import EntityHandlers
from devhost.management_instances import InstanceHandlers
from devhost.management_operations import OperationHandlers
from devhost.management_urls import ManagementUrls
from devhost.taskhub.service import TaskHub

Handler = Callable[[Request], Awaitable[Response]]


def management_routes(hub: TaskHub, dispatcher: Dispatcher, keys: Keys, urls: ManagementUrls) -> list[Route]:
    """All routes of the management API, below its base path."""
    instances, entities = InstanceHandlers(hub), EntityHandlers(hub)
    operations = OperationHandlers(hub, dispatcher, urls)
    instance, entity = "/instances/{instance_id}", "/entities/{name}/{key}"
    table: list[tuple[str, str, Handler]] = [
        ("POST", "/orchestrators/{name}", operations.start),
        ("POST", "/orchestrators/{name}/{instance_id}", operations.start),
        ("GET", "/instances", instances.list_instances),
        ("GET", "/instances/", instances.list_instances),
        ("DELETE", "/instances", instances.purge_many),
        ("DELETE", "/instances/", instances.purge_many),
        ("GET", instance, instances.status),
        ("DELETE", instance, instances.purge),
        ("POST", f"{instance}/raiseEvent/{{event}}", operations.raise_event),
        ("POST", f"{instance}/terminate", operations.terminate),
        ("POST", f"{instance}/suspend", operations.suspend),
        ("POST", f"{instance}/resume", operations.resume),
        ("POST", f"{instance}/restart", operations.restart),
        ("POST", f"{instance}/rewind", operations.rewind),
        ("GET", "/entities", entities.list_entities),
        ("GET", "/entities/", entities.list_entities),
        ("GET", "/entities/{name}", entities.list_entities),
        ("GET", "/entities/{name}/", entities.list_entities),
        ("GET", entity, entities.read),
        ("POST", entity, entities.signal),
        ("DELETE", entity, entities.signal),
    ]
    return [Route(path, _guarded(keys, handler), methods=[method]) for method, path, handler in table]


def _guarded(keys: Keys, handler: Handler) -> Handler:
    """A handler that asks for the key of the management API first, where keys are enforced."""

    async def check(request: Request) -> Response:
        return await handler(request) if keys.allow_management(request) else Response(status_code=401)

    return check
