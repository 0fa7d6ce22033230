"""API keys: random, shown once, stored only as a salted hash.

A key reads `pdk_<id>_<secret>`. The id finds the document; the secret is 256 random bits, so one round of SHA-256 over
salt and secret is enough: there is nothing to guess, and checking must be cheap.
"""

import hashlib
import hmac
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from perdure.documents.containers import CONTROLS
from perdure.documents.port import DocumentMissing, Documents, Partition
from perdure.domain.principal import ApiKey, Principal, check_names

PARTITION: Partition = ("system", "apiKey")
"""Keys of all tenants lie together: the key presented is what tells the tenant."""

PREFIX = "pdk"
TYPE = "apiKey"

LISTED_AFTER_EXPIRY = timedelta(days=30)
"""How long a key that has expired is still listed; then the store drops it."""

NOBODY = {"salt": "0" * 32, "hash": "0" * 64}
"""What a secret is compared with when there is no key of its id, so that this takes as long as a wrong secret."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key. `text` is what its bearer sends, and the only copy there is."""

    key: ApiKey
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Some of a tenant's keys, newest first; `continuation` asks for the next ones."""

    keys: list[ApiKey]
    continuation: str | None


class KeyStore:
    """API keys by their id."""

    def __init__(self, store: Documents) -> None:
        self._store = store

    async def issue(self, owner: Principal, label: str = "", expires_at: datetime | None = None) -> IssuedKey:
        """Make a key for an owner. Raises ValueError when nobody may be called so."""
        check_names(owner.tenant, owner.user)
        now = datetime.now(UTC)
        # Ids begin with the time in milliseconds, so that the newest are listed first.
        key_id = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(4)}"
        secret, salt = secrets.token_urlsafe(32), secrets.token_hex(16)
        key = ApiKey(key_id, owner, label, now, expires_at)
        await self._store.create(
            CONTROLS, PARTITION, {**_from_key(key, now), "salt": salt, "hash": _hash(salt, secret)}
        )
        return IssuedKey(key, f"{PREFIX}_{key_id}_{secret}")

    async def check(self, text: str) -> ApiKey | None:
        """Find the key that a caller presents; None when it is nobody's or has expired."""
        prefix, _, rest = text.partition("_")
        key_id, _, secret = rest.partition("_")
        if prefix != PREFIX or not _is_id(key_id):
            return None
        stored = await self._store.read(CONTROLS, PARTITION, key_id)
        body = stored.body if stored else NOBODY
        if not hmac.compare_digest(body["hash"], _hash(body["salt"], secret)) or stored is None:
            return None
        key = _to_key(body)
        return None if key.has_expired(datetime.now(UTC)) else key

    async def get(self, tenant: str, key_id: str) -> ApiKey | None:
        """Read a key of a tenant; None when there is none, or when it is another tenant's."""
        stored = await self._store.read(CONTROLS, PARTITION, key_id) if _is_id(key_id) else None
        return _to_key(stored.body) if stored and stored.body["tenant"] == tenant else None

    async def page(self, tenant: str, *, limit: int, continuation: str | None) -> KeyPage:
        """List a tenant's keys, newest first."""
        page = await self._store.page(
            CONTROLS,
            PARTITION,
            where={"type": TYPE, "tenant": tenant},
            order="descending",
            limit=limit,
            continuation=continuation,
        )
        return KeyPage([_to_key(stored.body) for stored in page.items], page.continuation)

    async def revoke(self, tenant: str, key_id: str) -> bool:
        """Remove a key of a tenant for good; False when there is none, or when it is another tenant's."""
        if await self.get(tenant, key_id) is None:
            return False
        with suppress(DocumentMissing):
            await self._store.delete(CONTROLS, PARTITION, key_id)
        return True

    async def any_exists(self) -> bool:
        page = await self._store.page(CONTROLS, PARTITION, limit=1)
        return bool(page.items)


def _is_id(text: str) -> bool:
    return len(text) <= 64 and text.isascii() and text.isalnum()


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()


def _from_key(key: ApiKey, now: datetime) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": key.id,
        "type": TYPE,
        "tenant": key.owner.tenant,
        "user": key.owner.user,
        "scopes": sorted(key.owner.scopes),
        "label": key.label,
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at and key.expires_at.isoformat(),
    }
    if key.expires_at:
        body["ttl"] = max(1, round((key.expires_at - now + LISTED_AFTER_EXPIRY).total_seconds()))
    return body


def _to_key(body: dict[str, Any]) -> ApiKey:
    return ApiKey(
        id=body["id"],
        owner=Principal(body["tenant"], body["user"], frozenset(body["scopes"])),
        label=body["label"],
        created_at=datetime.fromisoformat(body["created_at"]),
        expires_at=datetime.fromisoformat(body["expires_at"]) if body["expires_at"] else None,
    )
