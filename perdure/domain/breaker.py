"""A circuit breaker: whether what failed several times in a row is asked again, and by whom.

closed ──> open         FAILURES in a row
open ──> half-open      PROBE_SECONDS later: one request goes ahead, the probe; all others are refused
half-open ──> closed    the probe was answered
          └─> open      it was not

A probe of which nothing is heard, for its process may have died, holds nothing up: the next one goes ahead when it
would have after a failure. So a provider that is down is asked once in PROBE_SECONDS, by all processes together, and
its recovery is noticed within that time of it.

Pure: `perdure.stores.breakers` keeps one for all processes.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

FAILURES = 5
"""Failures in a row that open a breaker. Fewer take a deployment from everybody for a hiccup."""

PROBE_SECONDS = 10.0
"""Seconds from opening to the first probe, and from one probe to the next."""

LONGEST_PAUSE = 120.0
"""Most seconds that a provider may ask for until the next probe: it may be up again sooner than it said."""

TRIED_SECONDS = 60.0
"""How long after a probe was due a breaker is still said to be open. Who waits comes back well within that."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a breaker opens, and how often is tried whether it may close."""

    failures: int = FAILURES
    probe_seconds: float = PROBE_SECONDS


class State(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(StrEnum):
    """What happens to a breaker. What is no probe was asked while it was closed, and may come back much later."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    FAILED_TOO_OFTEN = "failed_too_often"
    PROBED = "probed"
    PROBE_SUCCEEDED = "probe_succeeded"
    PROBE_FAILED = "probe_failed"


TRANSITIONS = {
    (State.CLOSED, Event.SUCCEEDED): State.CLOSED,
    (State.CLOSED, Event.FAILED): State.CLOSED,
    (State.CLOSED, Event.FAILED_TOO_OFTEN): State.OPEN,
    (State.OPEN, Event.PROBED): State.HALF_OPEN,
    (State.OPEN, Event.PROBE_SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Event.PROBED): State.HALF_OPEN,
    (State.HALF_OPEN, Event.PROBE_SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Event.PROBE_FAILED): State.OPEN,
}
"""What each event makes of each state. What is not here changes nothing: a request that was asked before the breaker
opened tells nothing of now, and a probe that fails after another has closed it tells less than that one."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """A breaker as it is stored.

    Attributes:
        failures: How many in a row, while it is closed.
        probe_at: When the next probe may go ahead, in seconds since the epoch, while it is not closed.
    """

    state: State = State.CLOSED
    failures: int = 0
    probe_at: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether requests are refused, probes apart."""
        return self.state is not State.CLOSED

    def is_down(self, now: float) -> bool:
        """Whether it is open and was tried lately: of one that nobody tries, nobody knows."""
        return self.is_open and now < self.probe_at + TRIED_SECONDS

    def wait(self, now: float) -> float:
        """Seconds until a request may go ahead; 0 when it may now."""
        if self.state is State.CLOSED:
            return 0.0
        left = self.probe_at - now
        # Further ahead than any probe is set, it was set by a clock that is wrong.
        return left if 0.0 < left <= LONGEST_PAUSE else 0.0

    def asked(self, now: float, policy: Policy) -> "Breaker":
        """The breaker after a request went ahead, which `wait` allows: the probe, unless it is closed."""
        return self if self.state is State.CLOSED else self._after(Event.PROBED, now, policy.probe_seconds)

    def succeeded(self, probe: bool) -> "Breaker":
        """The breaker after a request was answered."""
        return self._after(Event.PROBE_SUCCEEDED if probe else Event.SUCCEEDED)

    def failed(self, probe: bool, now: float, policy: Policy, retry_after: float | None = None) -> "Breaker":
        """The breaker after a request failed.

        Args:
            retry_after: Seconds that the provider asks for until it is asked again.
        """
        pause = min(max(policy.probe_seconds, retry_after or 0.0), LONGEST_PAUSE)
        if probe:
            return self._after(Event.PROBE_FAILED, now, pause if retry_after else None)
        too_often = self.failures + 1 >= policy.failures
        return self._after(Event.FAILED_TOO_OFTEN if too_often else Event.FAILED, now, pause)

    def _after(self, event: Event, now: float = 0.0, pause: float | None = None) -> "Breaker":
        """The breaker after an event, with the next probe after a pause; unchanged when there is none."""
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            return self
        if state is State.CLOSED:
            return Breaker(failures=self.failures + 1 if event is Event.FAILED else 0)
        return replace(self, state=state, failures=0, probe_at=self.probe_at if pause is None else now + pause)
