"""Recurring schedules, made by the app at run time, across a crash of the host."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from tests.devhost.conftest import Instances, host_on
from tests.devhost_process import until

type Hosts = Callable[..., AbstractContextManager[Instances]]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Starts hosts of the app one after the other, all on one task hub."""
    yield partial(host_on, tmp_path / "state", "schedules")


def reports(instances: Instances) -> list[str]:
    """What the schedule has started and has ended well: the ids, which end with the time."""
    query = {"instanceIdPrefix": "beans-", "runtimeStatus": "Completed"}
    found = instances.client.get("/instances", params=query).json()
    assert all(report["output"] == "all is well with the beans" for report in found)
    return [report["instanceId"] for report in found]


def schedule(instances: Instances, operation: str = "") -> httpx.Response:
    url = f"{instances.host.url}/api/schedules/beans"
    return httpx.post(f"{url}/{operation}", timeout=30) if operation else httpx.get(url, timeout=30)


def test_a_schedule_goes_on_in_its_rhythm_until_it_is_deleted(hosts: Hosts) -> None:
    with hosts() as before:
        assert httpx.post(f"{before.host.url}/api/schedules/beans?every=1", timeout=30).status_code == 201
        started = until(lambda: reports(before), lambda found: len(found) >= 2)
        before.host.kill()
    with hosts() as after:
        assert schedule(after).json() == {"status": "ACTIVE"}
        going_on = until(lambda: reports(after), lambda found: len(found) >= len(started) + 2)
        assert schedule(after, "delete").status_code == 200
        assert schedule(after).status_code == 404
    times = [datetime.fromisoformat(report.removeprefix("beans-")) for report in going_on]
    # After the first, which was late and so ran at once, each is a whole number of intervals after the one before.
    gaps = [later - earlier for earlier, later in pairwise(times[1:])]
    assert gaps
    assert all(gap and gap % timedelta(seconds=1) == timedelta() for gap in gaps)


def test_a_schedule_that_was_paused_before_the_crash_waits_for_its_resumption(hosts: Hosts) -> None:
    with hosts() as before:
        httpx.post(f"{before.host.url}/api/schedules/beans?every=1", timeout=30)
        until(lambda: reports(before), bool)
        assert schedule(before, "pause").status_code == 200
        paused = reports(before)
        before.host.kill()
    with hosts() as after:
        assert schedule(after).json() == {"status": "PAUSED"}
        assert reports(after) == paused
        assert schedule(after, "resume").status_code == 200
        assert len(until(lambda: reports(after), lambda found: len(found) > len(paused))) > len(paused)
