"""The task hub: where orchestrations, entities and their history live.

Everybody else knows only the address of its gRPC service, so that another hub takes its place by a change to this
file alone. Today's keeps everything in memory: it is gone when the host ends.
"""

import logging
from typing import Protocol

from devhost.in_memory_hub import InMemoryHub

logger = logging.getLogger("host.hub")


class Hub(Protocol):
    """A task hub that runs in this process."""

    def stop(self) -> None:
        """Ends the gRPC service and everything the hub has running."""
        ...


def start_hub(*, reuse_unfinished_ids: bool) -> tuple[Hub, str]:
    """Starts a task hub.

    Args:
        reuse_unfinished_ids: Starting an instance id that is still running replaces it.

    Returns:
        The hub, to be stopped by the caller, and the ``host:port`` of its gRPC service.
    """
    hub = InMemoryHub(reuse_unfinished_ids=reuse_unfinished_ids)
    address = hub.start()
    logger.debug("Task hub on %s", address)
    return hub, address
