"""`Idempotency-Key`: the same request again is the same task, however often and however concurrently it is sent."""

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Callable

from pydantic import BaseModel
from starlette.requests import Request

from perdure.api.problems import Invalid, Malformed
from perdure.api.routes import IDEMPOTENCY_KEY
from perdure.bootstrap import Services
from perdure.documents.port import DocumentError
from perdure.domain.principal import Principal
from perdure.stores.starts import AnotherRequest, Claim, Started, UnderWay
from perdure.stores.tasks import new_task_id

HEADER = IDEMPOTENCY_KEY.name
AGAIN_SECONDS = 0.1
"""How soon to look again whether another request has made the start."""

type Start = Callable[[str], Awaitable[None]]
"""Makes a start of the task with an id; done again with the same id, it completes what is missing."""

logger = logging.getLogger(__name__)


def idempotency_key(request: Request) -> str | None:
    """Read the header. Raises Malformed."""
    text = request.headers.get(HEADER)
    if text is None:
        return None
    if not re.fullmatch(IDEMPOTENCY_KEY.pattern, text.strip()):
        raise Malformed(f'{HEADER} must be 1 to 255 printable ASCII characters, in quotes as in "8e03978e".')
    return text.strip().strip('"')


async def start_once(app: Services, who: Principal, key: str | None, asked: BaseModel, start: Start) -> str:
    """Make a start, or find the one that was made with the key. Returns the task's id.

    Raises:
        Invalid: The key was used for another request.
    """
    if key is None:
        task = new_task_id()
        await start(task)
        return task
    fingerprint = hashlib.sha256(json.dumps(asked.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
    while True:
        match await app.starts.claim(who, key, fingerprint, new_task_id()):
            case Claim() as claim:
                return await _make(app, claim, start)
            case Started(task):
                return task
            case AnotherRequest():
                detail = f"the {HEADER} was used for another request within a day; send this one with a new key"
                raise Invalid([{"pointer": "", "detail": detail}])
            case UnderWay():
                await asyncio.sleep(AGAIN_SECONDS)


async def _make(app: Services, claim: Claim, start: Start) -> str:
    try:
        await start(claim.task)
    except Exception:
        # Refused, or failed with nothing left that runs: a retry must be able to succeed.
        try:
            await app.starts.give_up(claim)
        except DocumentError as error:
            logger.warning("A key stays taken until its start can be taken over: %s", error)
        raise
    await app.starts.done(claim)
    return claim.task
