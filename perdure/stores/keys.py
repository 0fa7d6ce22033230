"""API keys: random, shown once, stored only as a salted hash.

A key reads `pdk_<id>_<secret>`. The id finds the document; the secret is 256 random bits, so one round of SHA-256 over
salt and secret is enough: there is nothing to guess, and checking must be cheap.
"""

import hashlib
import hmac
import secrets
from datetime import UTC, datetime

from perdure.documents.containers import CONTROLS
from perdure.documents.port import Documents, Partition
from perdure.domain.principal import Principal

PARTITION: Partition = ("system", "apiKey")
"""Keys of all tenants lie together: the key presented is what tells the tenant."""

PREFIX = "pdk"


class KeyStore:
    """API keys by their id."""

    def __init__(self, store: Documents) -> None:
        self._store = store

    async def issue(self, owner: Principal) -> str:
        """Make a key for an owner. The text returned is the only copy there is."""
        key_id, secret, salt = secrets.token_hex(8), secrets.token_urlsafe(32), secrets.token_hex(16)
        await self._store.create(
            CONTROLS,
            PARTITION,
            {
                "id": key_id,
                "type": "apiKey",
                "salt": salt,
                "hash": _hash(salt, secret),
                "tenant": owner.tenant,
                "user": owner.user,
                "scopes": sorted(owner.scopes),
                "created_at": datetime.now(UTC).isoformat(),
            },
        )
        return f"{PREFIX}_{key_id}_{secret}"

    async def check(self, key: str) -> Principal | None:
        """Say whose key this is; None when it is nobody's."""
        prefix, _, rest = key.partition("_")
        key_id, _, secret = rest.partition("_")
        if prefix != PREFIX or not (key_id.isascii() and key_id.isalnum() and secret):
            return None
        stored = await self._store.read(CONTROLS, PARTITION, key_id)
        if stored is None or not hmac.compare_digest(stored.body["hash"], _hash(stored.body["salt"], secret)):
            return None
        return Principal(stored.body["tenant"], stored.body["user"], frozenset(stored.body["scopes"]))

    async def any_exists(self) -> bool:
        page = await self._store.page(CONTROLS, PARTITION, limit=1)
        return bool(page.items)


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()
