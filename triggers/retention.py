"""Once a night: the durable history of orchestrations that ended long ago goes."""

import logging
from datetime import UTC, datetime, timedelta

import azure.durable_functions as df
import azure.functions as func
from durabletask.client import OrchestrationStatus

from perdure.bootstrap import services

ENDED = [OrchestrationStatus.COMPLETED, OrchestrationStatus.FAILED, OrchestrationStatus.TERMINATED]

bp = df.Blueprint()
logger = logging.getLogger(__name__)


@bp.timer_trigger(schedule="0 30 3 * * *", arg_name="timer")
@bp.durable_client_input(client_name="client")
async def purge_history(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:
    days = services().settings.retention.history
    if not days:
        return
    before = datetime.now(UTC) - timedelta(days=days)
    purged = await client.purge_orchestrations_by(created_time_to=before, runtime_status=ENDED)
    logger.info("Purged the history of %s orchestrations started before %s", purged.deleted_instance_count, before)
