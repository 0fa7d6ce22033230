"""Requests and tokens that model deployments were asked for in windows of a minute, by all instances and tenants.

<hash of model>-<window>    how many of both were granted
"""

import hashlib
from contextlib import suppress

from perdure.documents.containers import CONTROLS
from perdure.documents.port import DocumentExists, DocumentMissing, Documents, Partition

PARTITION: Partition = ("system", "modelRate")
KEPT_SECONDS = 300


class ModelRates:
    """What deployments were asked for."""

    def __init__(self, store: Documents) -> None:
        self._store = store

    async def add(self, model: str, window: int, requests: int, tokens: int) -> tuple[int, int]:
        """Count requests and tokens, or take some back; returns how many of both there are in the window now."""
        id = f"{hashlib.sha256(model.encode()).hexdigest()[:32]}-{window}"
        while True:
            with suppress(DocumentMissing):
                amounts = {"requests": requests, "tokens": tokens}
                counted = (await self._store.increment(CONTROLS, PARTITION, id, amounts)).body
                return int(counted["requests"]), int(counted["tokens"])
            body = {"id": id, "type": "modelRate", "model": model, "requests": requests, "tokens": tokens}
            with suppress(DocumentExists):
                await self._store.create(CONTROLS, PARTITION, body | {"ttl": KEPT_SECONDS})
                return requests, tokens
