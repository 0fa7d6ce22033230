"""The circuit breaker: its table of transitions, and what its users may rely on."""

import pytest

from perdure.domain.breaker import LONGEST_PAUSE, TRANSITIONS, Breaker, Policy, State

POLICY = Policy(failures=3, probe_seconds=10)
NOW = 1_000_000.0


def opened(at: float = NOW) -> Breaker:
    breaker = Breaker()
    for _ in range(POLICY.failures):
        breaker = breaker.failed(False, at, POLICY)
    return breaker


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(POLICY.failures - 1):
        breaker = breaker.failed(False, NOW, POLICY)
        assert breaker.state is State.CLOSED
        assert not breaker.wait(NOW)
    assert breaker.failed(False, NOW, POLICY) == Breaker(State.OPEN, probe_at=NOW + 10)


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = Breaker(failures=POLICY.failures - 1).succeeded(False)
    assert breaker == Breaker()


def test_while_it_is_open_one_request_goes_ahead_each_interval() -> None:
    breaker = opened()
    assert breaker.wait(NOW + 4) == 6
    assert not breaker.wait(NOW + 10)
    probed = breaker.asked(NOW + 12, POLICY)
    assert probed == Breaker(State.HALF_OPEN, probe_at=NOW + 22)
    assert probed.wait(NOW + 12) == 10


def test_a_probe_that_is_answered_closes_it() -> None:
    assert opened().asked(NOW + 10, POLICY).succeeded(True) == Breaker()


def test_a_probe_that_fails_opens_it_and_the_next_comes_an_interval_after_it_was_asked() -> None:
    probed = opened().asked(NOW + 10, POLICY)
    assert probed.failed(True, NOW + 17, POLICY) == Breaker(State.OPEN, probe_at=NOW + 20)


def test_a_probe_of_which_nothing_is_heard_holds_up_nothing() -> None:
    probed = opened().asked(NOW + 10, POLICY)
    assert probed.asked(NOW + 20, POLICY) == Breaker(State.HALF_OPEN, probe_at=NOW + 30)


def test_a_provider_may_ask_for_a_longer_pause_within_reason() -> None:
    last = Breaker(failures=POLICY.failures - 1)
    assert last.failed(False, NOW, POLICY, retry_after=30).probe_at == NOW + 30
    assert last.failed(False, NOW, POLICY, retry_after=1e6).probe_at == NOW + LONGEST_PAUSE
    assert last.failed(False, NOW, POLICY, retry_after=0).probe_at == NOW + 10
    probed = opened().asked(NOW + 10, POLICY)
    assert probed.failed(True, NOW + 11, POLICY, retry_after=30).probe_at == NOW + 41
    assert probed.failed(True, NOW + 11, POLICY, retry_after=0).probe_at == NOW + 20


@pytest.mark.parametrize("breaker", [opened(), opened().asked(NOW, POLICY)], ids=["open", "half open"])
def test_what_was_asked_before_it_opened_changes_nothing(breaker: Breaker) -> None:
    assert breaker.succeeded(False) == breaker
    assert breaker.failed(False, NOW + 5, POLICY, retry_after=60) == breaker


def test_a_probe_that_fails_after_another_closed_it_changes_nothing() -> None:
    assert Breaker(failures=1).failed(True, NOW, POLICY) == Breaker(failures=1)


def test_a_probe_that_is_answered_late_closes_it() -> None:
    again = opened().asked(NOW + 10, POLICY).failed(True, NOW + 11, POLICY)
    assert again.succeeded(True) == Breaker()


def test_a_clock_that_was_wrong_does_not_keep_it_open() -> None:
    assert not opened(at=NOW + 86_400).wait(NOW)


def test_every_transition_leads_where_the_diagram_says() -> None:
    drawn = {
        State.CLOSED: {State.CLOSED, State.OPEN},
        State.OPEN: {State.HALF_OPEN, State.CLOSED},
        State.HALF_OPEN: {State.HALF_OPEN, State.OPEN, State.CLOSED},
    }
    found = {state: {after for (before, _), after in TRANSITIONS.items() if before is state} for state in State}
    assert found == drawn
