"""How many requests a user may send in a minute, by the kind of route, over all instances together.

An instance is granted requests in blocks, a tenth of the limit each, and serves them from memory: of ten requests, nine
ask nothing of the store. The limit is never exceeded, whatever the number of instances; what an instance was granted
and did not use is lost until the window ends.
"""

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from perdure.api.problems import TooManyRequests
from perdure.documents.port import StoreUnavailable
from perdure.domain.principal import Principal
from perdure.stores.rates import RateStore

WINDOW_SECONDS = 60
BLOCKS = 10
MOST_USERS = 10_000
"""Users whose counts an instance keeps in memory; the one not seen for longest goes first, and is granted anew."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Grant:
    """What an instance has been granted of a window, and has left of it."""

    window: int
    left: int = 0
    total: int = 0


class RateLimiter:
    """Counts requests and refuses those over the limit.

    Args:
        limits: Requests a minute by class; 0 for any number.
        clock: Seconds since the epoch.
    """

    def __init__(self, store: RateStore, limits: Mapping[str, int], clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._grants = OrderedDict[tuple[str, str, str], _Grant]()

    async def count(self, who: Principal, rate: str) -> dict[str, str]:
        """Count a request of a class; returns the headers that tell what is left.

        Raises:
            TooManyRequests: There is nothing left in this window.
        """
        limit = self._limits[rate]
        if not limit:
            return {}
        now = self._clock()
        window = int(now // WINDOW_SECONDS)
        ends = math.ceil((window + 1) * WINDOW_SECONDS - now)
        grant = self._grant_of((who.tenant, who.user, rate), window)
        if grant.left < 1 and grant.total < limit:
            await self._ask(who, rate, grant, limit)
        if grant.left < 1:
            headers = self._headers(rate, limit, 0, ends) | {"Retry-After": str(ends)}
            raise TooManyRequests(
                f"More than {limit} requests of the kind {rate!r} in a minute. Try again in {ends} s.", headers=headers
            )
        grant.left -= 1
        return self._headers(rate, limit, limit - grant.total + grant.left, ends)

    async def _ask(self, who: Principal, rate: str, grant: _Grant, limit: int) -> None:
        block = max(1, limit // BLOCKS)
        try:
            total = await self._store.grant(who.tenant, who.user, rate, grant.window, block, grant.total)
        except StoreUnavailable as error:
            # Whatever the request is for will say so if it needs the store. Until then each instance counts by itself.
            logger.warning("Requests are counted by this instance alone: %s", error)
            total = grant.total + block
        grant.total = min(limit, max(grant.total, total))
        grant.left += max(0, block - max(0, total - limit))

    def _grant_of(self, key: tuple[str, str, str], window: int) -> _Grant:
        grant = self._grants.get(key)
        if grant is None or grant.window != window:
            grant = self._grants[key] = _Grant(window)
        self._grants.move_to_end(key)
        if len(self._grants) > MOST_USERS:
            self._grants.popitem(last=False)
        return grant

    def _headers(self, rate: str, limit: int, left: int, ends: int) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"{rate}";q={limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"{rate}";r={max(0, left)};t={ends}',
        }
