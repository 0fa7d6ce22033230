"""The URLs of the management API that clients are handed, and the configuration of the ``durableClient`` binding."""

import json
from urllib.parse import quote

from devhost.taskhub.server import MAX_MESSAGE_BYTES

BASE_PATH = "/runtime/webhooks/durabletask"

_PLACEHOLDER = "INSTANCEID"
_OPERATIONS = {
    "statusQueryGetUri": "?",
    "sendEventPostUri": "/raiseEvent/{eventName}?",
    "terminatePostUri": "/terminate?reason={text}&",
    "rewindPostUri": "/rewind?reason={text}&",
    "purgeHistoryDeleteUri": "?",
    "restartPostUri": "/restart?",
    "suspendPostUri": "/suspend?reason={text}&",
    "resumePostUri": "/resume?reason={text}&",
}


class ManagementUrls:
    """Makes management URLs of one task hub.

    Args:
        origin: ``http://host:port`` of this host.
        task_hub: Name of the task hub.
        key: Key of the management API in this run.
    """

    def __init__(self, origin: str, task_hub: str, key: str) -> None:
        self._origin = origin
        self._task_hub = task_hub
        self._key = key

    def of_instance(self, instance_id: str, origin: str | None = None) -> dict[str, str]:
        """The links of one instance, as the answer to a start holds them."""
        prefix = f"{origin or self._origin}{BASE_PATH}/instances/{quote(instance_id, safe='')}"
        query = f"taskHub={quote(self._task_hub)}&connection=Storage&code={self._key}"
        return {"id": instance_id} | {name: f"{prefix}{path}{query}" for name, path in _OPERATIONS.items()}

    def client_binding(self, hub_address: str) -> str:
        """The configuration that a ``durableClient`` binding hands to the app, as JSON."""
        base = f"{self._origin}{BASE_PATH}"
        create = f"{base}/orchestrators/{{functionName}}[/{{instanceId}}]"
        wait = "timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}"
        return json.dumps(
            {
                "taskHubName": self._task_hub,
                "connectionName": "Storage",
                "rpcBaseUrl": hub_address,
                "baseUrl": base,
                "httpBaseUrl": base,
                "requiredQueryStringParameters": f"code={self._key}",
                "creationUrls": {
                    "createNewInstancePostUri": f"{create}?code={self._key}",
                    "createAndWaitOnNewInstancePostUri": f"{create}?{wait}&code={self._key}",
                },
                "managementUrls": self.of_instance(_PLACEHOLDER),
                "maxGrpcMessageSizeInBytes": MAX_MESSAGE_BYTES,
            }
        )
