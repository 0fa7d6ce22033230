"""Orchestrations, activities, sub-orchestrations, events, timers and entities of an app that knows no devhost."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from tests.devhost.conftest import APPS, Instances
from tests.devhost_process import DevHost


def test_three_thousand_activities_run_side_by_side(instances: Instances) -> None:
    done = instances.run("fan_out", 3000)
    assert (done["runtimeStatus"], done["output"]) == ("Completed", sum(n * n for n in range(3000)))


def test_a_sub_orchestration_knows_its_parent(instances: Instances) -> None:
    parent = instances.start("parent", "x")
    assert instances.finish(parent)["output"] == [parent, 9]
    assert instances.get(f"{parent}-child").json()["name"] == "child"


def test_a_failing_sub_orchestration_fails_its_parent(instances: Instances) -> None:
    done = instances.run("parent", "fail")
    assert done["runtimeStatus"] == "Failed"
    assert "Activity task #1 failed: from the child" in done["output"]


def test_an_external_event_wakes_the_orchestration(instances: Instances) -> None:
    waiting = instances.start("approval", 60)
    assert instances.post(f"{waiting}/raiseEvent/decision", json={"ok": True}).status_code == 202
    assert instances.finish(waiting)["output"] == {"decision": {"ok": True}}


def test_a_durable_timer_fires(instances: Instances) -> None:
    assert instances.run("approval", 0.2)["output"] == "too late"


def test_a_timer_of_an_earlier_generation_stays_silent(instances: Instances) -> None:
    eternal = instances.start("forever")
    instances.until(eternal, lambda d: d["input"] == 2)
    # Longer than the timers of the first two generations, whose ids the last one uses again.
    assert instances.run("approval", 0.5)["output"] == "too late"
    instances.post(f"{eternal}/raiseEvent/go", json="by event")
    assert instances.finish(eternal)["output"] == "by event"


def test_an_activity_of_an_earlier_generation_answers_nobody(instances: Instances) -> None:
    assert instances.run("leaves_work_behind")["output"] == "new"


def test_a_retry_policy_repeats_a_failing_activity(instances: Instances) -> None:
    assert instances.run("retried")["output"] == 3


def test_an_orchestrator_sees_the_own_type_and_message_of_a_failure(instances: Instances) -> None:
    caught = instances.run("catches")["output"]
    assert caught["type"] == "OutOfStockError"
    assert caught["message"] == "no beans: none at all"
    assert "raise OutOfStockError(message)" in caught["stack"]


def test_a_failure_without_a_message_is_still_a_failure(instances: Instances) -> None:
    done = instances.run("calls_silent")
    assert done["runtimeStatus"] == "Failed"
    assert "ValueError" in done["output"]


def test_a_failed_orchestration_is_logged_with_its_traceback(instances: Instances) -> None:
    failed = instances.start("uncaught")
    instances.finish(failed)
    instances.host.wait_for_line(f"Orchestration 'uncaught' ({failed}) failed")


def test_calling_an_activity_that_does_not_exist_fails_and_names_those_that_do(instances: Instances) -> None:
    done = instances.run("calls_nobody")
    assert done["runtimeStatus"] == "Failed"
    assert "no activity function named 'nobody'" in done["output"]
    assert "square" in done["output"]


def test_a_client_that_starts_an_unknown_orchestrator_gets_a_failed_instance(instances: Instances) -> None:
    started = httpx.post(f"{instances.host.url}/api/start/no_such_orchestrator").json()
    assert "OrchestratorFunctionNotFound" in instances.finish(started["id"])["output"]


def test_an_entity_is_signalled_and_called(instances: Instances) -> None:
    assert instances.run("counts", "called")["output"] == 5


def test_a_failing_entity_operation_is_logged(instances: Instances) -> None:
    assert instances.client.post("/entities/counter/failing?op=boom").status_code == 202
    assert "OutOfStockError: entity" in instances.host.wait_for_line("Entity @counter@failing")


def test_an_orchestration_makes_http_calls(instances: Instances) -> None:
    assert instances.run("calls_http", instances.host.url)["output"] == 200


def test_the_trace_of_the_starter_reaches_the_activity(instances: Instances) -> None:
    sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert instances.run("traced", traceparent=sent)["output"] == sent


def test_an_orchestration_scheduled_for_later_waits_until_then(instances: Instances) -> None:
    start = (datetime.now(UTC) + timedelta(seconds=0.5)).isoformat()
    later = httpx.post(f"{instances.host.url}/api/later", params={"at": start}).json()["id"]
    assert instances.get(later).json()["runtimeStatus"] == "Pending"
    instances.finish(later)
    began = instances.get(later, showHistory=True).json()["historyEvents"][-1]["Timestamp"]
    assert datetime.fromisoformat(began) >= datetime.fromisoformat(start)


def test_forty_clients_may_wait_at_once(instances: Instances) -> None:
    ids = [instances.start("approval", 60) for _ in range(40)]
    with ThreadPoolExecutor(len(ids)) as pool, httpx.Client(timeout=30) as client:
        waits = [pool.submit(client.get, f"{instances.host.url}/api/wait/{i}") for i in ids]
        for i in ids:
            instances.post(f"{i}/raiseEvent/decision", json=i)
        assert [w.result().json() for w in waits] == [{"decision": i} for i in ids]


def test_a_result_larger_than_four_megabytes_reaches_the_client(instances: Instances) -> None:
    big = instances.start("big", 5_000_000)
    instances.finish(big)
    answer = httpx.get(f"{instances.host.url}/api/wait/{big}", timeout=30)
    assert answer.status_code == 200
    assert len(answer.json()) == 5_000_000


def test_no_more_activities_run_at_once_than_host_json_allows(tmp_path: Path) -> None:
    quota = {"extensions": {"durableTask": {"maxConcurrentActivityFunctions": 2}}}
    (tmp_path / "host.json").write_text(json.dumps({"version": "2.0", **quota}))
    shutil.copy(APPS / "durable" / "function_app.py", tmp_path)
    with DevHost(tmp_path) as host:
        ours = Instances(host)
        with ours.client:
            assert max(ours.run("crowd", 12)["output"]) == 2
