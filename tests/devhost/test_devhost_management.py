"""The built-in management API: status codes, query parameters and documents as documented."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from tests.devhost.conftest import Instances


@pytest.fixture
def waiting(instances: Instances) -> str:
    """An instance that runs until somebody decides."""
    started = instances.start("approval", 60)
    instances.until(started, lambda d: d["runtimeStatus"] == "Running")
    return started


@pytest.fixture
def finished(instances: Instances) -> str:
    done = instances.start("fan_out", 2)
    instances.finish(done)
    return done


def test_a_start_answers_with_the_management_links(instances: Instances) -> None:
    answer = instances.client.post("/orchestrators/fan_out", json=1)
    links = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == links["statusQueryGetUri"]
    assert answer.headers["retry-after"] == "10"
    assert set(links) == {
        "id", "statusQueryGetUri", "sendEventPostUri", "terminatePostUri", "rewindPostUri", "purgeHistoryDeleteUri",
        "restartPostUri", "suspendPostUri", "resumePostUri",
    }  # fmt: skip
    assert "taskHub=TestHubName&connection=Storage&code=" in links["statusQueryGetUri"]


def test_a_start_may_wait_for_the_output(instances: Instances) -> None:
    answer = instances.client.post("/orchestrators/fan_out?timeout=10&pollingInterval=1", json=4)
    assert (answer.status_code, answer.json()) == (200, 14)


def test_an_unknown_orchestrator_cannot_be_started(instances: Instances) -> None:
    assert instances.client.post("/orchestrators/nobody").status_code == 400


def test_a_start_with_broken_json_is_refused(instances: Instances) -> None:
    assert instances.client.post("/orchestrators/fan_out", content="{").status_code == 400


def test_a_running_id_cannot_be_started_again_but_a_finished_one_can(
    instances: Instances, waiting: str, finished: str
) -> None:
    assert instances.client.post(f"/orchestrators/approval/{waiting}").status_code == 409
    assert instances.start("fan_out", 3, finished) == finished
    assert instances.finish(finished)["output"] == 5


def test_the_status_of_a_running_instance_is_202_with_a_location(instances: Instances, waiting: str) -> None:
    answer = instances.get(waiting)
    document = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"].endswith(f"/instances/{waiting}")
    assert answer.headers["retry-after"] == "5"
    assert {k: document[k] for k in ("name", "instanceId", "runtimeStatus", "input", "output", "customStatus")} == {
        "name": "approval", "instanceId": waiting, "runtimeStatus": "Running", "input": 60, "output": None,
        "customStatus": None,
    }  # fmt: skip
    assert "historyEvents" not in document
    datetime.strptime(document["createdTime"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def test_the_status_of_a_finished_instance_is_200_without_a_location(instances: Instances, finished: str) -> None:
    answer = instances.get(finished)
    assert answer.status_code == 200
    assert "location" not in answer.headers


def test_an_unknown_instance_is_404_everywhere(instances: Instances) -> None:
    nobody = uuid4().hex
    assert instances.get(nobody).status_code == 404
    assert instances.client.delete(f"/instances/{nobody}").status_code == 404
    for operation in ("raiseEvent/x", "terminate", "suspend", "resume", "rewind"):
        assert instances.post(f"{nobody}/{operation}", json=1).status_code == 404, operation
    assert instances.post(f"{nobody}/restart").status_code == 400


def test_input_and_history_are_shown_on_request(instances: Instances, finished: str) -> None:
    assert instances.get(finished, showInput=False).json()["input"] is None
    plain = instances.get(finished, showHistory=True).json()["historyEvents"]
    assert [e["EventType"] for e in plain] == [
        "ExecutionStarted", "TaskCompleted", "TaskCompleted", "ExecutionCompleted",
    ]  # fmt: skip
    assert plain[0]["FunctionName"] == "fan_out"
    assert plain[1]["FunctionName"] == "square"
    assert plain[1]["ScheduledTime"] <= plain[1]["Timestamp"]
    assert not any("Result" in e for e in plain)
    full = instances.get(finished, showHistory=True, showHistoryOutput=True).json()["historyEvents"]
    assert sorted(e["Result"] for e in full if e["EventType"] == "TaskCompleted") == [0, 1]


def test_a_failure_is_a_500_only_on_request(instances: Instances) -> None:
    failed = instances.start("uncaught")
    instances.finish(failed)
    assert instances.get(failed).status_code == 200
    assert instances.get(failed, returnInternalServerErrorOnFailure=True).status_code == 500
    history = instances.get(failed, showHistory=True).json()["historyEvents"]
    details = next(e["FailureDetails"] for e in history if e["EventType"] == "TaskFailed")
    assert (details["ErrorType"], details["ErrorMessage"]) == ("OutOfStockError", "still broken")


def test_instances_are_listed_by_filter_page_by_page(instances: Instances) -> None:
    prefix = uuid4().hex
    for n in range(3):
        instances.finish(instances.start("fan_out", 1, f"{prefix}-{n}"))
    query = {"instanceIdPrefix": prefix, "runtimeStatus": "Completed,Failed", "top": "2"}
    first = instances.client.get("/instances", params=query)
    token = first.headers["x-ms-continuation-token"]
    second = instances.client.get("/instances", params=query, headers={"x-ms-continuation-token": token})
    assert [d["instanceId"] for d in first.json() + second.json()] == [f"{prefix}-{n}" for n in range(3)]
    assert second.headers["x-ms-continuation-token"] == ""
    assert instances.client.get("/instances", params={**query, "runtimeStatus": "Failed"}).json() == []
    later = {**query, "createdTimeFrom": "2999-01-01T00:00:00Z"}
    assert instances.client.get("/instances", params=later).json() == []


def test_only_json_may_be_raised_as_an_event(instances: Instances, waiting: str) -> None:
    assert instances.post(f"{waiting}/raiseEvent/decision", content="plain").status_code == 400
    broken = {"content": "{", "headers": {"content-type": "application/json"}}
    assert instances.post(f"{waiting}/raiseEvent/decision", **broken).status_code == 400


def test_terminate_ends_an_instance_with_the_reason_as_output(instances: Instances, waiting: str) -> None:
    assert instances.post(f"{waiting}/terminate?reason=enough").status_code == 202
    done = instances.finish(waiting)
    assert (done["runtimeStatus"], done["output"]) == ("Terminated", "enough")


def test_a_finished_instance_is_gone_for_operations(instances: Instances, finished: str) -> None:
    for operation in ("raiseEvent/x", "terminate", "suspend", "resume"):
        assert instances.post(f"{finished}/{operation}", json=1).status_code == 410, operation
    assert instances.post(f"{finished}/rewind").status_code == 412


def test_a_suspended_instance_takes_no_event_until_it_is_resumed(instances: Instances, waiting: str) -> None:
    assert instances.post(f"{waiting}/suspend?reason=pause").status_code == 202
    instances.until(waiting, lambda d: d["runtimeStatus"] == "Suspended")
    instances.post(f"{waiting}/raiseEvent/decision", json="late")
    assert instances.get(waiting).json()["runtimeStatus"] == "Suspended"
    assert instances.post(f"{waiting}/resume?reason=go").status_code == 202
    assert instances.finish(waiting)["output"] == {"decision": "late"}


def test_restart_runs_a_finished_instance_again_under_a_new_id_or_its_own(instances: Instances, finished: str) -> None:
    again = instances.post(f"{finished}/restart").json()["id"]
    assert again != finished
    assert instances.finish(again)["output"] == 1
    assert instances.post(f"{finished}/restart?restartWithNewInstanceId=false").json()["id"] == finished
    assert instances.finish(finished)["output"] == 1


def test_a_running_instance_cannot_be_restarted_in_place(instances: Instances, waiting: str) -> None:
    assert instances.post(f"{waiting}/restart?restartWithNewInstanceId=false").status_code == 409


def test_rewind_repeats_only_what_failed(instances: Instances, tmp_path: Path) -> None:
    needed = tmp_path / "needed"
    failed = instances.start("recovers", str(needed))
    assert instances.finish(failed)["runtimeStatus"] == "Failed"
    needed.touch()
    assert instances.post(f"{failed}/rewind?reason=mended").status_code == 202
    assert instances.until(failed, lambda d: d["runtimeStatus"] == "Completed")["output"] == 4
    history = instances.get(failed, showHistory=True).json()["historyEvents"]
    assert [e.get("FunctionName") for e in history if e["EventType"] == "TaskCompleted"] == ["square", "needs_file"]


def test_purge_deletes_finished_instances_only(instances: Instances, waiting: str, finished: str) -> None:
    assert instances.client.delete(f"/instances/{waiting}").status_code == 412
    assert instances.client.delete(f"/instances/{finished}").json() == {"instancesDeleted": 1}
    assert instances.get(finished).status_code == 404


def test_purge_of_many_needs_a_start_and_counts(instances: Instances) -> None:
    failed = instances.start("uncaught")
    instances.finish(failed)
    assert instances.client.delete("/instances").status_code == 400
    query = {"createdTimeFrom": "2000-01-01T00:00:00Z", "runtimeStatus": "Failed"}
    assert instances.client.delete("/instances", params=query).json()["instancesDeleted"] >= 1
    assert instances.client.delete("/instances", params=query).status_code == 404
    assert instances.get(failed).status_code == 404


def test_an_entity_is_signalled_read_listed_and_deleted(instances: Instances) -> None:
    entity, key = "/entities/Counter", uuid4().hex
    assert instances.client.get(f"{entity}/{key}").status_code == 404
    for _ in range(2):
        assert instances.client.post(f"{entity}/{key}?op=add", json=4).status_code == 202
    # Entities take operations in order, so one that answers comes after those two.
    assert instances.run("counts", key)["output"] == 13
    assert instances.client.get(f"{entity}/{key}").json() == 13
    listed = instances.client.get(entity, params={"fetchState": "true"}).json()
    ours = next(e for e in listed if e["entityId"]["key"] == key)
    assert (ours["entityId"]["name"], ours["state"]) == ("counter", 13)
    assert next(e for e in instances.client.get(entity).json() if e["entityId"]["key"] == key)["state"] is None
