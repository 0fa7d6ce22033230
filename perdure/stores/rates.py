"""Requests counted in windows of a minute, for all instances of a deployment together.

<hash of user>-<class>-<window>    how many requests of the window were granted, to whichever instance
"""

import hashlib
from contextlib import suppress

from perdure.documents.containers import CONTROLS
from perdure.documents.port import DocumentExists, DocumentMissing, Documents

KIND = "rate"
KEPT_SECONDS = 120


class RateStore:
    """Grants of requests."""

    def __init__(self, store: Documents) -> None:
        self._store = store

    async def grant(self, tenant: str, user: str, rate: str, window: int, count: int, known: int) -> int:
        """Count some requests, and return how many there are in the window now, these included.

        Args:
            known: How many the caller knows of; when there are none, this is most likely the first to count.
        """
        id = f"{hashlib.sha256(user.encode()).hexdigest()[:32]}-{rate}-{window}"
        partition = (tenant, KIND)
        while True:
            if not known:
                body = {"id": id, "type": KIND, "user": user, "count": count, "ttl": KEPT_SECONDS}
                with suppress(DocumentExists):
                    await self._store.create(CONTROLS, partition, body)
                    return count
            with suppress(DocumentMissing):
                counted = await self._store.increment(CONTROLS, partition, id, {"count": count})
                return int(counted.body["count"])
            known = 0
