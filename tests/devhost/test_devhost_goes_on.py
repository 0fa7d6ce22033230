"""Patterns of Durable Functions, each on a host that is killed in the middle of it: the next host goes on."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.devhost.conftest import Instances, host_on
from tests.devhost_process import until

type Hosts = Callable[..., AbstractContextManager[Instances]]


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    """What the activities note."""
    path = tmp_path / "effects"
    path.touch()
    return path


@pytest.fixture
def hosts(tmp_path: Path, effects: Path) -> Iterator[Hosts]:
    """Starts hosts of the app one after the other, all on one task hub."""
    yield partial(host_on, tmp_path / "state", "patterns", EFFECTS=str(effects))


def noted(effects: Path) -> Counter[str]:
    return Counter(effects.read_text().splitlines())


def history_of(instances: Instances, instance_id: str) -> list[dict[str, Any]]:
    """Nothing before the first episode."""
    return instances.get(instance_id, showHistory=True, showHistoryOutput=True).json().get("historyEvents", [])


def events(instances: Instances, instance_id: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in history_of(instances, instance_id) if event["EventType"] == kind]


def test_a_fan_out_repeats_only_the_activities_that_had_not_ended(hosts: Hosts, effects: Path) -> None:
    here, there = [f"a b {n}" for n in range(12)], [f"how many {n}?" for n in range(4)]
    with hosts(UPSTREAM="hangs") as before:
        counting = before.start("count_words", here + there)
        until(lambda: events(before, counting, "TaskCompleted"), lambda done: len(done) == len(here))
        until(lambda: noted(effects)["hangs"], lambda count: count == len(there))
        before.host.kill()
    with hosts() as after:
        assert after.finish(counting)["output"] == 3 * (len(here) + len(there))
    assert noted(effects) == Counter([*here, *there, *["hangs"] * len(there)])


def test_a_decision_is_received_by_whoever_waited_before_the_crash(hosts: Hosts) -> None:
    with hosts() as before:
        expense = before.start("expense", [60, 1])
        until(lambda: events(before, expense, "TimerCreated"), bool)
        before.host.kill()
    with hosts() as after:
        after.tell(expense, "DECISION", {"by": "Ada"})
        assert after.finish(expense)["output"] == {"by": "Ada"}


def test_an_acknowledged_decision_survives_a_crash_right_after_it(hosts: Hosts) -> None:
    with hosts() as before:
        expense = before.start("expense", [60, 1])
        before.tell(expense, "Decision", "yes")
        before.host.kill()
    with hosts() as after:
        assert after.finish(expense)["output"] == "yes"


def test_reminders_go_on_and_one_that_came_due_meanwhile_is_sent_at_once(hosts: Hosts, effects: Path) -> None:
    with hosts() as before:
        expense = before.start("expense", [0.4, 3])
        until(lambda: noted(effects)[f"remind {expense}"], lambda sent: sent == 1)
        due = datetime.fromisoformat(until(lambda: events(before, expense, "TimerCreated"), bool)[-1]["FireAt"])
        before.host.kill()
    until(lambda: datetime.now(UTC), lambda now: now > due)
    with hosts() as after:
        assert after.finish(expense)["output"] == "escalated"
        fired = events(after, expense, "TimerFired")
    assert noted(effects)[f"remind {expense}"] == 3
    assert all(event["Timestamp"] >= event["FireAt"] for event in fired)


def test_a_monitor_goes_on_where_it_was(hosts: Hosts, tmp_path: Path) -> None:
    job = tmp_path / "job"
    with hosts() as before:
        watching = before.start("monitor", {"job": str(job), "times": 0})
        seen = before.until(watching, lambda d: (d["customStatus"] or 0) >= 3)["customStatus"]
        before.host.kill()
    with hosts() as after:
        assert after.until(watching, lambda d: d["customStatus"] > seen)["customStatus"] > seen
        job.touch()
        done = after.finish(watching)
        assert done["output"] == done["customStatus"] > seen
        # Each look is an execution of its own, so the history does not grow.
        assert len(history_of(after, watching)) <= 4


def test_no_event_is_lost_or_counted_twice_between_executions(hosts: Hosts) -> None:
    with hosts() as before:
        adding = before.start("sum_up", {"sum": 0, "left": 40})
        for amount in range(20):
            before.tell(adding, "amount", amount)
        before.host.kill()
    with hosts() as after:
        for amount in range(20, 40):
            after.tell(adding, "amount", amount)
        assert after.finish(adding)["output"] == sum(range(40))


def test_a_suspended_orchestration_stays_suspended_and_keeps_what_came(hosts: Hosts) -> None:
    with hosts() as before:
        expense = before.start("expense", [60, 1])
        before.until(expense, lambda d: d["runtimeStatus"] == "Running")
        before.operate(expense, "suspend")
        before.until(expense, lambda d: d["runtimeStatus"] == "Suspended")
        before.tell(expense, "Decision", "yes")
        before.host.kill()
    with hosts() as after:
        # Something else runs to its end meanwhile: not that there was no time.
        assert after.run("count_words", ["one two"])["output"] == 2
        assert after.get(expense).json()["runtimeStatus"] == "Suspended"
        after.operate(expense, "resume")
        assert after.finish(expense)["output"] == "yes"


def test_sub_orchestrations_answer_the_parent_after_a_crash(hosts: Hosts) -> None:
    with hosts() as before:
        parent = before.start("family")
        until(lambda: before.get(f"{parent}-0").status_code, lambda status: status == 202)
        before.tell(f"{parent}-0", "Decision", "first")
        before.finish(f"{parent}-0")
        before.host.kill()
    with hosts() as after:
        assert after.get(parent).json()["runtimeStatus"] == "Running"
        after.tell(f"{parent}-1", "Decision", "second")
        assert after.finish(parent)["output"] == ["first", "second"]


def test_the_client_of_an_app_terminates_the_sub_orchestrations_as_well(hosts: Hosts) -> None:
    with hosts() as before:
        parent = before.start("family")
        for child in (f"{parent}-0", f"{parent}-1"):
            until(lambda child=child: before.get(child).status_code, lambda status: status == 202)
        before.host.kill()
    with hosts() as after:
        assert httpx.post(f"{after.host.url}/api/terminate/{parent}").status_code == 202
        for ended in (parent, f"{parent}-0", f"{parent}-1"):
            document = after.finish(ended)
            assert (document["runtimeStatus"], document["output"]) == ("Terminated", "by the app")


def test_the_management_api_terminates_one_orchestration_as_in_azure(hosts: Hosts) -> None:
    with hosts() as instances:
        parent = instances.start("family")
        until(lambda: instances.get(f"{parent}-0").status_code, lambda status: status == 202)
        instances.operate(parent, "terminate")
        assert instances.finish(parent)["runtimeStatus"] == "Terminated"
        instances.tell(f"{parent}-0", "Decision", "still here")
        assert instances.finish(f"{parent}-0")["output"] == "still here"


def test_what_had_ended_can_be_restarted_by_the_next_host(hosts: Hosts) -> None:
    with hosts() as before:
        counting = before.start("count_words", ["one two", "three"])
        assert before.finish(counting)["output"] == 3
        before.host.kill()
    with hosts() as after:
        assert after.get(counting).json()["output"] == 3
        again = after.post(f"{counting}/restart").json()["id"]
        assert after.finish(again)["output"] == 3
        assert after.post(f"{counting}/restart?restartWithNewInstanceId=false").json()["id"] == counting
        assert after.finish(counting)["output"] == 3
        assert len(events(after, counting, "ExecutionStarted")) == 1


def test_a_rewound_orchestration_goes_on_with_its_failed_sub_orchestration(
    hosts: Hosts, effects: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text"
    with hosts(UPSTREAM="hangs") as before:
        parent = before.start("delegate", str(text))
        assert before.finish(parent)["runtimeStatus"] == "Failed"
        text.write_text("what now?")
        before.operate(parent, "rewind")
        until(lambda: noted(effects)["hangs"], bool)
        before.host.kill()
    with hosts() as after:
        assert after.until(parent, lambda d: d["runtimeStatus"] == "Completed")["output"] == 4
        assert after.get(f"{parent}-child").json()["output"] == 2
    # The parent's own activity had succeeded, so it was not run again.
    assert noted(effects) == Counter(["said before", "hangs", "what now?"])


def test_an_orchestration_scheduled_for_later_starts_then_on_the_next_host(hosts: Hosts) -> None:
    start = datetime.now(UTC) + timedelta(seconds=1.5)
    with hosts() as before:
        url = f"{before.host.url}/api/later/count_words"
        later = httpx.post(url, params={"at": start.isoformat()}, json=["one two"]).json()["id"]
        before.host.kill()
    with hosts() as after:
        assert after.finish(later)["output"] == 2
        assert datetime.fromisoformat(history_of(after, later)[-1]["Timestamp"]) >= start
