"""The public keys of an issuer: read when they are needed, kept, and read again when the issuer has new ones."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import httpx
from pydantic import BaseModel, JsonValue, TypeAdapter

from perdure.identity.errors import IssuerUnavailable
from perdure.identity.issuers import Issuer, check_address

FRESH_SECONDS = 3600.0
"""Age at which keys are read again, while they go on being used."""

KEEP_SECONDS = 24 * 3600.0
"""Age to which keys are used while the issuer does not answer."""

RETRY_SECONDS = 10.0
"""Least time between two reads. A token can name any key, and must not make us ask the issuer each time."""

TIMEOUT_SECONDS = 5.0
MAX_BYTES = 256 * 1024
"""Largest answer that is read. Issuers have a handful of keys of about 2 KB."""

type Jwk = dict[str, Any]

logger = logging.getLogger(__name__)


class SigningKeys:
    """One issuer's keys by their `kid`."""

    def __init__(self, issuer: Issuer, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: dict[str, Jwk] = {}
        self._read_at = self._tried_at = float("-inf")
        self._failed = False
        self._reading: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> Jwk | None:
        """Find a key; None when the issuer has none of that name, or had none less than RETRY_SECONDS ago.

        Raises:
            IssuerUnavailable: It is not among the keys at hand, and the issuer cannot be asked.
        """
        age = self._clock() - self._read_at
        if age > KEEP_SECONDS:
            self._keys = {}
        if kid in self._keys:
            if age > FRESH_SECONDS:
                self._read_again()
            return self._keys[kid]
        if reading := self._read_again():
            await asyncio.shield(reading)
        if kid not in self._keys and self._failed:
            raise IssuerUnavailable(f"The keys of {self._issuer.issuer} cannot be read.")
        return self._keys.get(kid)

    def _read_again(self) -> asyncio.Task[None] | None:
        """Start to read the keys; None when they were read a moment ago. A read under way serves all."""
        if self._reading is None or self._reading.done():
            if self._clock() - self._tried_at < RETRY_SECONDS:
                return None
            self._tried_at = self._clock()
            self._reading = asyncio.create_task(self._read())
        return self._reading

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                self._keys = await fetch_keys(self._issuer)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
            logger.warning("The keys of %s cannot be read: %s: %s", self._issuer.issuer, type(error).__name__, error)
            self._failed = True
        else:
            self._read_at, self._failed = self._clock(), False


class _Discovery(BaseModel):
    issuer: str
    jwks_uri: str


class _KeySet(BaseModel):
    keys: list[dict[str, JsonValue]]


_discovery, _key_set = TypeAdapter(_Discovery), TypeAdapter(_KeySet)


async def fetch_keys(issuer: Issuer) -> dict[str, Jwk]:
    """Read the keys that an issuer signs with now.

    Raises:
        httpx.HTTPError: It does not answer, or not with 200. Redirects are not followed.
        ValueError: It answers something else.
    """
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
        uri = issuer.jwks_uri
        if uri is None:
            address = f"{issuer.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = _discovery.validate_json(await _get(client, address))
            if found.issuer != issuer.issuer:
                raise ValueError(f"its discovery document is of {found.issuer[:200]!r}")
            uri = check_address(found.jwks_uri)
        keys = _key_set.validate_json(await _get(client, uri)).keys
    return {kid: key for key in keys if isinstance(kid := key.get("kid"), str) and _is_public_signing_key(key)}


def _is_public_signing_key(key: Jwk) -> bool:
    return key.get("use", "sig") == "sig" and "d" not in key


async def _get(client: httpx.AsyncClient, address: str) -> bytes:
    body = bytearray()
    async with client.stream("GET", address, headers={"Accept": "application/json"}) as response:
        if response.status_code != 200:
            raise ValueError(f"{address} answers {response.status_code}")
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError(f"{address} answers more than {MAX_BYTES:,} bytes")
    return bytes(body)
