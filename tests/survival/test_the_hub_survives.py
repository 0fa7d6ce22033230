"""A devhost that is killed again and again: everything it acknowledged comes to its end, and nothing is done anew."""

import contextlib
import functools
import itertools
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.devhost_process import until
from tests.forked_host import ForkedHost
from tests.survival.dying_journal import POINTS_PER_COMMIT, die_at
from tests.survival.hub_life import WORK, Decision, Work, completed, decisions, runs

APP = Path(__file__).parent / "app"
SEED = 20_261_126
KILLS = 200
LONGEST_LIFE = 0.5
"""Seconds. Starting takes about half of it, so that many lives end while the hub takes up its work."""


class Life:
    """One hub over all its lives."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.state, self.log = folder / "state", folder / "ran"
        self.host = ForkedHost(APP, self.state, folder / "printed", {"RAN": str(self.log)})
        self.work = Work(self.host.url)

    def finish(self, also: Iterable[str] = ()) -> dict[str, list[Decision]]:
        """Lets a last life do the rest; what was decided. Everything must have ended as it should.

        Args:
            also: Orchestrators to start under their own names, as far as that was not acknowledged.
        """
        self.host.begin()
        self.host.wait_until_ready()
        with httpx.Client(timeout=10) as client:
            for name in [name for name in also if name not in self.work.started]:
                self.work.start(client, name, name)
            self.work.send_events(client)
            until(lambda: self.work.unfinished(client), lambda left: not left)
            assert self.work.outputs(client) == self.work.expected()
        self.host.stop()
        return decisions(self.state)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Decision]]:
    """What each orchestrator decides when nothing goes wrong."""
    life = Life(tmp_path_factory.mktemp("uninterrupted"))
    life.host.begin()
    life.host.wait_until_ready()
    with httpx.Client(timeout=10) as client:
        for name in WORK:
            life.work.start(client, name, name)
    life.host.kill()
    return life.finish()


@pytest.mark.timeout(600)
def test_two_hundred_kills_at_random_moments(tmp_path: Path, uninterrupted: dict[str, list[Decision]]) -> None:
    chance, life = random.Random(SEED), Life(tmp_path)
    done: dict[str, int] = {}
    numbers = iter(range(1_000_000))
    for _ in range(KILLS):
        life.host.begin()
        _live(life.work, numbers, time.monotonic() + chance.uniform(0.05, LONGEST_LIFE), chance)
        life.host.kill()
        ran = runs(life.log)
        # Once its completion is in the file, an activity has run as often as it ever will.
        done |= {activity: ran[activity] for activity in completed(life.state) - done.keys()}
    decided = life.finish()
    ran = runs(life.log)
    assert len(life.work.started) > KILLS
    assert {activity: ran[activity] for activity in done} == done
    for instance_id, decisions_made in decided.items():
        assert decisions_made == _like(uninterrupted, instance_id), instance_id


@pytest.mark.timeout(600)
def test_a_kill_at_every_commit(tmp_path: Path, uninterrupted: dict[str, list[Decision]]) -> None:
    for point in itertools.count(1):
        life = Life(tmp_path / str(point))
        life.host.begin(functools.partial(die_at, point))
        with httpx.Client(timeout=5) as client, contextlib.suppress(httpx.TransportError):
            _ask_for_everything(life, client)
            if not life.host.wait_for_death(0):
                # It had fewer commits than that: there are no more points to die at.
                life.host.kill()
                assert point > POINTS_PER_COMMIT * len(WORK), point
                return
        assert life.host.wait_for_death(5)
        before, done = runs(life.log), completed(life.state)
        assert life.finish(also=WORK) == uninterrupted
        after = runs(life.log)
        assert {activity: after[activity] for activity in done} == {activity: before[activity] for activity in done}


def _ask_for_everything(life: Life, client: httpx.Client) -> None:
    until(life.host.answers_or_died, bool)
    for name in WORK:
        life.work.start(client, name, name)
    life.work.send_events(client)
    until(lambda: life.work.unfinished(client), lambda left: not left)


def _live(work: Work, numbers: Iterator[int], death: float, chance: random.Random) -> None:
    """Asks for work from the moment the host answers until it dies."""
    with httpx.Client(timeout=5) as client:
        while time.monotonic() < death:
            name = chance.choice(list(WORK))
            try:
                work.start(client, f"{name}.{next(numbers)}", name)
                work.send_events(client)
            except httpx.TransportError:
                time.sleep(0.01)


def _like(uninterrupted: dict[str, list[Decision]], instance_id: str) -> list[Decision]:
    name, found, child = instance_id.partition("-child-")
    return uninterrupted[f"{name.partition('.')[0]}{found}{child}"]
