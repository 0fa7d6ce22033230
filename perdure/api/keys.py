"""What the key routes do: an administrator manages the keys of the own tenant, and sees no other's."""

from datetime import UTC, datetime, timedelta

from perdure.api.problems import NotFound
from perdure.api.schemas.keys import KeyRequest
from perdure.bootstrap import Services
from perdure.domain.principal import ApiKey, Principal
from perdure.stores.keys import IssuedKey


async def make_key(app: Services, who: Principal, request: KeyRequest) -> IssuedKey:
    """Make a key for a user of the caller's tenant."""
    owner = Principal(who.tenant, request.user, frozenset(request.scopes))
    expires_at = datetime.now(UTC) + timedelta(seconds=request.expires_in) if request.expires_in else None
    return await app.keys.issue(owner, request.label, expires_at)


async def tenant_key(app: Services, who: Principal, key_id: str) -> ApiKey:
    """Read a key of the caller's tenant. Raises NotFound, in the same words when it is missing or another tenant's."""
    key = await app.keys.get(who.tenant, key_id)
    if key is None:
        raise _no_key(key_id)
    return key


async def revoke_key(app: Services, who: Principal, key_id: str) -> None:
    """Revoke a key of the caller's tenant: here at once, elsewhere when it is looked up again. Raises NotFound."""
    if not await app.keys.revoke(who.tenant, key_id):
        raise _no_key(key_id)
    app.api_keys.forget(key_id)


def _no_key(key_id: str) -> NotFound:
    return NotFound(f"There is no API key {key_id[:64]!r}; GET /api/keys lists your tenant's.")
