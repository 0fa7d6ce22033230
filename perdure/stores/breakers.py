"""Circuit breakers, one for all processes together: `model:<deployment>`, `tool:<name>`.

<hash of name>    a breaker that counted a failure in the last day; one that is not there is closed

1. Who is about to ask enters. While the breaker is closed, as this process saw it not long ago, nothing else happens.
2. While it is open the entry is refused, with the seconds to wait. When they are over, one of all processes is let in,
   the one whose compare-and-swap came first: its request is the probe.
3. Who was let in says what came of it. A success writes only where it changes something: after a failure, or a probe.

What is written is decided on what the store says then; see `ContendedDocuments`. What this process remembers saves
reading: for FRESH_SECONDS it may let a request through to a provider that others found to be down, or refuse one that
has recovered. A store that fails refuses nothing: the request goes ahead as if there were no breaker.
"""

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass

from perdure.documents.containers import CONTROLS
from perdure.documents.port import Body, Documents, Partition, StoreUnavailable
from perdure.domain.breaker import Breaker, Policy, State
from perdure.stores.contended import ContendedDocuments
from perdure.telemetry import metrics

KIND = "breakers"
SYSTEM = "system"
"""The tenant of breakers that are everybody's."""

FRESH_SECONDS = 3.0
"""How long a process takes a breaker to be as it last saw it. Less than the time between two probes."""

KEPT_SECONDS = 24 * 3600

REMEMBERED = 1000
"""Breakers whose last state is remembered."""

logger = logging.getLogger(__name__)


class BreakerOpen(Exception):
    """What is to be asked is down, and is not asked.

    Attributes:
        retry_after: Seconds until the next probe may go ahead. The caller does well to add some of its own, or all that
            wait come at the same moment.
    """

    def __init__(self, name: str, retry_after: float) -> None:
        super().__init__(f"{name} failed repeatedly and is left alone for now")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Entry:
    """A request that was let in; hand it back to `succeeded` or `failed`. Who does neither, as for a request that was
    never sent, changes nothing."""

    tenant: str
    name: str
    probe: bool = False


class Breakers:
    """Breakers by tenant and name.

    Args:
        clock: Seconds since the epoch.
    """

    def __init__(self, store: Documents, policy: Policy | None = None, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._documents = ContendedDocuments(store)
        self._policy = policy or Policy()
        self._clock = clock
        self._seen = OrderedDict[tuple[str, str], tuple[Breaker, float]]()

    async def enter(self, name: str, tenant: str = SYSTEM) -> Entry:
        """Ask to make a request. Raises BreakerOpen."""
        breaker = await self.check(name, tenant)
        if breaker.state is State.CLOSED:
            return Entry(tenant, name)

        def ask(found: Breaker, now: float) -> Breaker:
            self._refuse(name, found)
            return found.asked(now, self._policy)

        asked = await self._change(tenant, name, ask)
        return Entry(tenant, name, probe=asked is not None and asked.state is not State.CLOSED)

    async def check(self, name: str, tenant: str = SYSTEM) -> Breaker:
        """See whether a request could be made now. Raises BreakerOpen."""
        breaker = await self.look(name, tenant)
        self._refuse(name, breaker)
        return breaker

    async def look(self, name: str, tenant: str = SYSTEM) -> Breaker:
        """See a breaker as it is, or was FRESH_SECONDS ago at most."""
        seen, until = self._seen.get((tenant, name), (Breaker(), 0.0))
        if self._clock() < until:
            return seen
        try:
            stored = await self._store.read(CONTROLS, _partition(tenant), _id(name))
        except StoreUnavailable as error:
            logger.warning("The breaker of %s cannot be read: %s", name, error)
            return self._see(tenant, name, seen)
        return self._see(tenant, name, _breaker(stored.body) if stored else Breaker())

    async def succeeded(self, entry: Entry) -> None:
        """Say that a request was answered."""
        seen, _ = self._seen.get((entry.tenant, entry.name), (Breaker(), 0.0))
        # Otherwise there is nothing to forget and nothing to close.
        if seen.failures or entry.probe:
            await self._change(entry.tenant, entry.name, lambda found, _: found.succeeded(entry.probe))

    async def failed(self, entry: Entry, retry_after: float | None = None) -> None:
        """Say that a request failed in a way that tells of all requests.

        Args:
            retry_after: Seconds that the provider asks for until it is asked again.
        """
        await self._change(
            entry.tenant, entry.name, lambda found, now: found.failed(entry.probe, now, self._policy, retry_after)
        )

    async def down(self) -> list[str]:
        """Names of everybody's breakers that are open and were tried lately."""
        return sorted([name async for name, breaker in self.all() if breaker.is_down(self._clock())])

    async def all(self, tenant: str = SYSTEM) -> AsyncIterator[tuple[str, Breaker]]:
        """Every breaker that counted a failure in the last day, by its name."""
        continuation = None
        while True:
            page = await self._store.page(CONTROLS, _partition(tenant), continuation=continuation)
            for stored in page.items:
                yield stored.body["name"], _breaker(stored.body)
            if (continuation := page.continuation) is None:
                return

    def _refuse(self, name: str, breaker: Breaker) -> None:
        if wait := breaker.wait(self._clock()):
            raise BreakerOpen(name, wait)

    async def _change(self, tenant: str, name: str, change: Callable[[Breaker, float], Breaker]) -> Breaker | None:
        """Change the stored breaker and see what became of it; None when the store does not answer."""
        after: Breaker | None = None

        def apply(body: Body) -> bool:
            nonlocal after
            before = _breaker(body)
            try:
                after = change(before, self._clock())
            except BreakerOpen:
                self._see(tenant, name, before)
                raise
            body |= asdict(after)
            return after != before

        empty = {"id": _id(name), "type": KIND, "name": name, "ttl": KEPT_SECONDS} | asdict(Breaker())
        try:
            await self._documents.change(_partition(tenant), empty, apply)
        except StoreUnavailable as error:
            logger.warning("The breaker of %s cannot be written: %s", name, error)
            return None
        assert after is not None
        return self._see(tenant, name, after)

    def _see(self, tenant: str, name: str, breaker: Breaker) -> Breaker:
        seen, _ = self._seen.get((tenant, name), (Breaker(), 0.0))
        if (breaker.state is State.CLOSED) != (seen.state is State.CLOSED):
            logger.warning("The breaker of %s is %s", name, breaker.state)
        metrics.breaker_changed(name, metrics.BreakerState[breaker.state.name])
        self._seen[tenant, name] = breaker, self._clock() + FRESH_SECONDS
        self._seen.move_to_end((tenant, name))
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return breaker


def _breaker(body: Body) -> Breaker:
    return Breaker(State(body["state"]), int(body["failures"]), float(body["probe_at"]))


def _partition(tenant: str) -> Partition:
    return tenant, KIND


def _id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]
