"""The app on a host that is killed again and again: every effect happens once, or somebody is asked whether it did."""

import contextlib
import functools
import itertools
import random
import time
from pathlib import Path

import httpx
import pytest

from tests.devhost_process import until
from tests.survival.app_life import AppLife
from tests.survival.dying_ledger import be_quick, die_at

SEED = 26_112_026
KILLS = 200
LONGEST_LIFE = 1.0
"""Seconds. Starting takes about half of it."""

STARTS = 2
"""Tasks that are started in one life, if it is long enough."""


@pytest.mark.timeout(900)
def test_two_hundred_kills_under_load(tmp_path: Path) -> None:
    chance, numbers = random.Random(SEED), itertools.count()
    with AppLife(tmp_path) as life:
        for _ in range(KILLS):
            life.host.begin(be_quick)
            death = time.monotonic() + chance.uniform(0.1, LONGEST_LIFE)
            orders = [f"A{next(numbers)}" for _ in range(STARTS)]
            while time.monotonic() < death:
                with contextlib.suppress(httpx.TransportError):
                    if orders:
                        life.start(orders[-1])
                        orders.pop()
                time.sleep(0.01)
            life.host.kill()
        answered, asked = life.finish()
        assert len(life.tasks) >= KILLS
        _hold(life, answered, asked)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("tool", ["charge", "look_up"])
def test_a_kill_wherever_the_ledger_waits(tmp_path: Path, tool: str) -> None:
    with AppLife(tmp_path) as life:
        for point in itertools.count(1):
            life.host.begin(functools.partial(die_at, tool, point))
            order = f"B{point}"
            until(lambda order=order: _started(life, order), bool)
            if not life.host.wait_for_death_or(lambda order=order: life.has_ended(order)):
                # It waited less often than that.
                assert point > 4, point
                break
        answered, asked = life.finish()
        _hold(life, answered, asked)
        # The moments when the charge was under way, or had been made, are among them.
        assert asked


def _started(life: AppLife, order: str) -> bool:
    try:
        life.start(order)
    except httpx.TransportError:
        return not life.host.is_alive()
    return True


def _hold(life: AppLife, answered: dict[str, str], asked: set[str]) -> None:
    """Holds the effects outside against what every task was told."""
    effects, keys = life.effects(), life.keys()
    for order in life.tasks:
        assert answered[order] == f"Order {order} is settled."
        for charged in (order, f"{order}-delivery"):
            # One effect and no more; where nobody could know, a person looked, and had it done if it was not.
            assert effects["charge", charged] == 1, (charged, charged in asked)
            assert len(keys["charge", charged]) == 1
        assert effects["look_up", order] >= 1
        assert len(keys["look_up", order]) == 1
