"""The task hub behind a durable client, as far as an erasure needs it."""

import asyncio
import logging

import azure.durable_functions as df
from durabletask.client import OrchestrationStatus
from grpc import RpcError

RUNNING = (OrchestrationStatus.PENDING, OrchestrationStatus.RUNNING, OrchestrationStatus.SUSPENDED)
LOOKS, LOOK_SECONDS = 20, 0.1
"""How often, and how far apart, to look whether an orchestration that was terminated has ended."""

logger = logging.getLogger(__name__)


class TaskHub:
    """The task hub behind a durable client."""

    def __init__(self, client: df.DurableFunctionsClient) -> None:
        self._client = client

    async def is_running(self, instance: str) -> bool:
        try:
            state = await self._client.get_orchestration_state(instance, fetch_payloads=False)
        except RpcError:
            return True
        return state is not None and state.runtime_status in RUNNING

    async def remove(self, instance: str) -> int | None:
        try:
            state = await self._client.get_orchestration_state(instance, fetch_payloads=False)
            if state is not None and state.runtime_status in RUNNING:
                await self._client.terminate_orchestration(instance)
            for _ in range(LOOKS):
                if state is None:
                    return 0
                if state.runtime_status not in RUNNING:
                    return (await self._client.purge_orchestration(instance)).deleted_instance_count
                await asyncio.sleep(LOOK_SECONDS)
                state = await self._client.get_orchestration_state(instance, fetch_payloads=False)
        except RpcError as error:
            logger.warning("The history of %s is still there: %s", instance, error)
        return None
