"""The task hub of a host: its file, and how the app reaches it."""

import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from devhost.taskhub.server import serve
from devhost.taskhub.service import LEASE_SECONDS, TaskHub

logger = logging.getLogger("host.hub")


@contextlib.asynccontextmanager
async def task_hub(
    state: Path | None,
    name: str,
    *,
    reuse_unfinished_ids: bool,
    on_failure: Callable[[Exception], None],
    lease_seconds: float = LEASE_SECONDS,
) -> AsyncIterator[tuple[TaskHub, str]]:
    """Runs a task hub.

    Args:
        state: Folder of its file; None: it is gone at the end.
        name: Of the hub; each has a file of its own.
        reuse_unfinished_ids: Starting an instance id that is still running replaces it.
        on_failure: Told once if the file cannot be written any more.
        lease_seconds: After which work that nobody completes is handed out again.

    Yields:
        The hub, and the ``host:port`` of its gRPC service.

    Raises:
        StateError: The file cannot be used.
    """
    with contextlib.ExitStack() as temporary:
        folder = state or Path(temporary.enter_context(tempfile.TemporaryDirectory(prefix="devhost-")))
        hub = TaskHub(
            folder / f"{name}.db",
            durable=state is not None,
            reuse_unfinished_ids=reuse_unfinished_ids,
            on_failure=on_failure,
            lease_seconds=lease_seconds,
        )
        server, address = await serve(hub)
        logger.debug("Task hub on %s", address)
        try:
            yield hub, address
        finally:
            await server.stop(None)
            await hub.close()
