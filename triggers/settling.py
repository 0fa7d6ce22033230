"""Tasks and their orchestrations brought into line: a task that ended is told to its orchestration, and the reverse."""

import logging
from collections.abc import Iterable

import azure.durable_functions as df
from grpc import RpcError

from perdure.api.tasks import settle
from perdure.bootstrap import services
from perdure.domain.names import CANCEL
from perdure.domain.task import Task

logger = logging.getLogger(__name__)


async def settled(client: df.DurableFunctionsClient, task: Task) -> Task:
    """Return a task as it stands, ended if its orchestration was terminated, failed or is gone."""
    if task.reason is not None:
        return task
    try:
        state = await client.get_orchestration_state(task.id, fetch_payloads=False)
    except RpcError as error:
        logger.warning("Task %s is shown as stored, for the task hub does not answer: %s", task.id, error)
        return task
    return await settle(services(), task, state.runtime_status.name if state else None)


async def cancel(client: df.DurableFunctionsClient, tasks: Iterable[str]) -> None:
    """Wake the orchestrations of tasks that were ended."""
    for id in tasks:
        try:
            await client.raise_orchestration_event(id, CANCEL)
        except RpcError as error:
            logger.warning("Task %s was cancelled, but its orchestration was not told: %s", id, error)
