"""Entities: critical sections, calls, signals and delayed signals, with the host killed in the middle."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.devhost.conftest import Instances, host_on
from tests.devhost_process import until

type Hosts = Callable[..., AbstractContextManager[Instances]]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Starts hosts of the app one after the other, all on one task hub."""
    yield partial(host_on, tmp_path / "state", "patterns")


def balance(instances: Instances, account: str) -> int | None:
    answer = instances.client.get(f"/entities/account/{account}")
    return answer.json() if answer.status_code == 200 else None


def add(instances: Instances, account: str, amount: int) -> None:
    assert instances.client.post(f"/entities/account/{account}?op=add", json=amount).status_code == 202


def test_transfers_that_cross_keep_the_sum(hosts: Hosts) -> None:
    with hosts() as before:
        for account in "ab":
            add(before, account, 100)
        there = [before.start("transfer", {"from": "a", "to": "b", "amount": n}) for n in range(10)]
        back = [before.start("transfer", {"from": "b", "to": "a", "amount": 1}) for _ in range(10)]
        before.finish(there[2])
        before.host.kill()
    with hosts() as after:
        assert {after.finish(order)["output"] for order in there + back} == {"moved"}
        moved = sum(range(10)) - 10
        assert (balance(after, "a"), balance(after, "b")) == (100 - moved, 100 + moved)


def test_a_held_account_does_for_others_what_they_asked_once_it_is_released(hosts: Hosts) -> None:
    with hosts() as before:
        add(before, "a", 100)
        order = before.start("transfer", {"from": "a", "to": "b", "amount": 30, "asks": True})
        before.until(order, lambda d: d["customStatus"] == "asking")
        add(before, "a", 1)
        before.host.kill()
    with hosts() as after:
        waiting = after.start("transfer", {"from": "b", "to": "a", "amount": 10})
        # Whatever could overtake has had its turn when another account is through.
        add(after, "c", 5)
        until(lambda: balance(after, "c"), lambda found: found == 5)
        assert balance(after, "a") == 100
        assert after.get(waiting).json()["runtimeStatus"] == "Running"
        after.tell(order, "go")
        assert after.finish(waiting)["output"] == "moved"
        assert (balance(after, "a"), balance(after, "b")) == (100 - 30 + 1 + 10, 30 - 10)


def test_an_orchestration_that_is_terminated_in_a_critical_section_releases_it(hosts: Hosts) -> None:
    with hosts() as before:
        order = before.start("transfer", {"from": "a", "to": "b", "amount": 30, "asks": True})
        before.until(order, lambda d: d["customStatus"] == "asking")
        before.host.kill()
    with hosts() as after:
        next_one = after.start("transfer", {"from": "a", "to": "b", "amount": 7})
        after.operate(order, "terminate")
        assert after.finish(next_one)["output"] == "moved"
        assert (balance(after, "a"), balance(after, "b")) == (-7, 7)


@pytest.mark.parametrize("sender", ["an orchestration", "a client"])
def test_a_delayed_signal_arrives_at_its_time_on_the_next_host(hosts: Hosts, sender: str) -> None:
    account = uuid4().hex
    with hosts() as before:
        if sender == "a client":
            due = httpx.post(f"{before.host.url}/api/pay/{account}/3?in=1.2").text
        else:
            due = before.run("pay_later", {"to": account, "amount": 3, "in": 1.2})["output"]
        before.host.kill()
    with hosts() as after:
        assert until(lambda: balance(after, account), bool) == 3
        assert datetime.now(UTC) >= datetime.fromisoformat(due)


def test_an_acknowledged_signal_survives_a_crash_right_after_it(hosts: Hosts) -> None:
    with hosts() as before:
        for _ in range(20):
            add(before, "a", 1)
        before.host.kill()
    with hosts() as after:
        # The account performs in order, so what it answers now comes after all of them.
        after.run("transfer", {"from": "a", "to": "b", "amount": 0})
        assert balance(after, "a") == 20
