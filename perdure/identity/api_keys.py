"""API keys as they are presented, checked against the store once a minute."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime

from perdure.domain.principal import ApiKey, Principal
from perdure.identity.errors import CredentialRefused
from perdure.stores.keys import KeyStore

FRESH_SECONDS = 60.0
"""How long a key that was right is taken to be right. A revoked one works no longer than this anywhere."""

MOST_KNOWN = 10_000
"""Keys remembered at once, about 5 MB; the one remembered longest goes first. Wrong ones are never remembered."""

ADMIN = Principal("default", "admin", frozenset({"admin"}))
"""Whom the key in PERDURE_ADMIN_KEY makes its bearer."""


class ApiKeys:
    """Checks keys. What it remembers of one is a hash, never the key."""

    def __init__(
        self, store: KeyStore, admin_key: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._admin = _digest(admin_key) if admin_key else None
        self._clock = clock
        self._known: dict[bytes, tuple[ApiKey, float]] = {}
        self._reading: dict[bytes, asyncio.Task[ApiKey | None]] = {}

    async def check(self, text: str) -> Principal:
        """Say whose key this is.

        Raises:
            CredentialRefused: Nobody's, or nobody's any more.
        """
        digest = _digest(text)
        if self._admin and hmac.compare_digest(digest, self._admin):
            return ADMIN
        key, until = self._known.get(digest, (None, 0.0))
        if key is None or self._clock() >= until:
            key = await self._read(digest, text)
        if key is None or key.has_expired(datetime.now(UTC)):
            raise CredentialRefused("The API key in the X-API-Key header is not valid.")
        return key.owner

    def forget(self, key_id: str) -> None:
        """Ask the store again about a key, at its next use in this process."""
        self._known = {digest: known for digest, known in self._known.items() if known[0].id != key_id}

    def forget_user(self, tenant: str, user: str) -> None:
        """Ask the store again about all keys of a user."""
        whose = tenant, user
        self._known = {
            digest: known
            for digest, known in self._known.items()
            if (known[0].owner.tenant, known[0].owner.user) != whose
        }

    async def _read(self, digest: bytes, text: str) -> ApiKey | None:
        """Ask the store about a key, once for all who present it at the same time."""
        if digest not in self._reading:
            self._reading[digest] = asyncio.create_task(self._store.check(text))
            self._reading[digest].add_done_callback(lambda _: self._reading.pop(digest))
        key = await asyncio.shield(self._reading[digest])
        self._known.pop(digest, None)
        if key is not None:
            if len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[digest] = key, self._clock() + FRESH_SECONDS
        return key


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
