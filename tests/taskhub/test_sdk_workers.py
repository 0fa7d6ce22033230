"""The durabletask package's own worker and client on the hub: what its users rely on, over gRPC."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from durabletask import history
from durabletask.client import OrchestrationQuery, OrchestrationState, OrchestrationStatus, TaskHubGrpcClient
from durabletask.entities import DurableEntity, EntityInstanceId
from durabletask.task import ActivityContext, OrchestrationContext, when_all, when_any
from durabletask.worker import (
    ConcurrencyOptions,
    TaskHubGrpcWorker,
    VersionFailureStrategy,
    VersioningOptions,
    VersionMatchStrategy,
)

from tests.devhost_process import until
from tests.taskhub.served import served

SECONDS = 30


def square(context: ActivityContext, n: int) -> int:
    return n * n


def fan_out(context: OrchestrationContext, count: int) -> Any:
    results = yield when_all([context.call_activity(square, input=n) for n in range(count)])
    return sum(results)


def parent(context: OrchestrationContext, count: int) -> Any:
    context.set_custom_status("calling")
    return (yield context.call_sub_orchestrator(fan_out, input=count, instance_id=f"{context.instance_id}-child"))


def nap(context: OrchestrationContext, milliseconds: int) -> Any:
    before = context.current_utc_datetime
    yield context.create_timer(timedelta(milliseconds=milliseconds))
    return (context.current_utc_datetime - before).total_seconds() * 1000 >= milliseconds


def approval(context: OrchestrationContext, _: Any) -> Any:
    timeout = context.create_timer(timedelta(hours=1))
    event = context.wait_for_external_event("Decision")
    return "too late" if (yield when_any([event, timeout])) == timeout else event.get_result()


def collect(context: OrchestrationContext, so_far: list[int]) -> Any:
    """Takes one number at a time; after each it goes on as new, with or without what came meanwhile."""
    number = yield context.wait_for_external_event("number")
    if number == 0:
        return so_far
    context.continue_as_new([*so_far, number], save_events=True)


def forget(context: OrchestrationContext, round: int) -> Any:
    yield context.wait_for_external_event("go")
    if round == 2:
        return "done"
    context.continue_as_new(round + 1, save_events=False)


def waiting_parent(context: OrchestrationContext, _: Any) -> Any:
    return (yield context.call_sub_orchestrator(approval, instance_id=f"{context.instance_id}-child"))


broken = threading.Event()
runs: list[str] = []


def fragile(context: ActivityContext, name: str) -> str:
    runs.append(name)
    if name == "fragile" and broken.is_set():
        raise ValueError("it broke")
    return name


def fails_once(context: OrchestrationContext, _: Any) -> Any:
    first = yield context.call_activity(fragile, input="solid")
    second = yield context.call_sub_orchestrator(fails_below, instance_id=f"{context.instance_id}-child")
    return [first, second]


def fails_below(context: OrchestrationContext, _: Any) -> Any:
    return (yield context.call_activity(fragile, input="fragile"))


class Counter(DurableEntity):
    def add(self, n: int) -> int:
        self.set_state(self.get_state(int, 0) + n)
        return self.get_state(int, 0)

    def get(self) -> int:
        return self.get_state(int, 0)

    def refuse(self) -> None:
        raise ValueError("not today")


def careful(context: OrchestrationContext, key: str) -> Any:
    """Reads and writes under a lock: without one, additions would be lost."""
    counter = EntityInstanceId("Counter", key)
    with (yield context.lock_entities([counter])):
        before = yield context.call_entity(counter, "get")
        yield context.call_activity(square, input=before)
        return (yield context.call_entity(counter, "add", input=1)) == before + 1


def refused(context: OrchestrationContext, key: str) -> Any:
    try:
        yield context.call_entity(EntityInstanceId("Counter", key), "refuse")
    except Exception as error:
        return str(error)


def versioned(context: OrchestrationContext, _: Any) -> Any:
    return context.version
    yield


@contextlib.contextmanager
def worker(address: str, versioning: VersioningOptions | None = None) -> Iterator[TaskHubGrpcWorker]:
    limits = ConcurrencyOptions(maximum_thread_pool_workers=8)
    with TaskHubGrpcWorker(host_address=address, concurrency_options=limits) as worker:
        orchestrators = (fan_out, parent, nap, approval, collect, forget, waiting_parent, fails_once, fails_below)
        for orchestrator in (*orchestrators, careful, refused, versioned):
            worker.add_orchestrator(orchestrator)
        worker.add_activity(square)
        worker.add_activity(fragile)
        worker.add_entity(Counter)
        if versioning is not None:
            worker.use_versioning(versioning)
        worker.start()
        yield worker


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskHubGrpcClient]:
    with (
        served(tmp_path_factory.mktemp("hub") / "hub.db") as address,
        contextlib.closing(TaskHubGrpcClient(host_address=address)) as client,
        worker(address),
    ):
        yield client


def ended(client: TaskHubGrpcClient, id: str) -> OrchestrationState:
    state = client.wait_for_orchestration_completion(id, timeout=SECONDS)
    assert state is not None
    return state


def output(client: TaskHubGrpcClient, id: str) -> Any:
    state = ended(client, id)
    assert state.runtime_status == OrchestrationStatus.COMPLETED, state.failure_details
    return state.get_output()


def status(client: TaskHubGrpcClient, id: str) -> OrchestrationStatus:
    state = client.get_orchestration_state(id)
    assert state is not None
    return state.runtime_status


def test_a_fan_out_of_hundreds_comes_to_its_sum(client: TaskHubGrpcClient) -> None:
    assert output(client, client.schedule_new_orchestration(fan_out, input=300)) == sum(n * n for n in range(300))


def test_a_sub_orchestration_answers_its_parent(client: TaskHubGrpcClient) -> None:
    id = client.schedule_new_orchestration(parent, input=3, instance_id="parent", tags={"team": "one"})
    assert output(client, id) == 5
    state = ended(client, id)
    assert state.get_custom_status() == "calling"
    child = client.get_orchestration_state("parent-child")
    assert child is not None
    assert child.name == "fan_out"
    told = [type(event) for event in client.get_orchestration_history(id)]
    assert told == [
        history.OrchestratorStartedEvent,
        history.ExecutionStartedEvent,
        history.SubOrchestrationInstanceCreatedEvent,
        history.OrchestratorCompletedEvent,
        history.OrchestratorStartedEvent,
        history.SubOrchestrationInstanceCompletedEvent,
        history.OrchestratorCompletedEvent,
        history.ExecutionCompletedEvent,
    ]


def test_a_timer_is_not_early(client: TaskHubGrpcClient) -> None:
    assert output(client, client.schedule_new_orchestration(nap, input=50)) is True


def test_an_event_is_received_whatever_the_case_of_its_name_and_when_it_comes(client: TaskHubGrpcClient) -> None:
    id = client.schedule_new_orchestration(approval)
    client.raise_orchestration_event(id, "DECISION", data="yes")
    assert output(client, id) == "yes"


def test_events_are_kept_over_new_executions_in_their_order(client: TaskHubGrpcClient) -> None:
    id = client.schedule_new_orchestration(collect, input=[])
    for number in [*range(1, 30), 0]:
        client.raise_orchestration_event(id, "number", data=number)
    assert output(client, id) == list(range(1, 30))


def test_events_that_are_not_kept_are_gone(tmp_path: Path) -> None:
    with (
        served(tmp_path / "hub.db") as address,
        contextlib.closing(TaskHubGrpcClient(host_address=address)) as client,
    ):
        id = client.schedule_new_orchestration(forget, input=1)
        client.raise_orchestration_event(id, "go")
        client.raise_orchestration_event(id, "go")
        with worker(address):
            # Both came with the first execution; the second has none.
            until(lambda: client.get_orchestration_state(id), lambda s: s is not None and s.get_input() == 2)
            client.wait_for_orchestration_start(id, timeout=SECONDS)
            assert status(client, id) == OrchestrationStatus.RUNNING
            client.raise_orchestration_event(id, "go")
            assert output(client, id) == "done"


def test_what_is_suspended_goes_on_when_it_is_resumed(client: TaskHubGrpcClient) -> None:
    id = client.schedule_new_orchestration(approval)
    client.suspend_orchestration(id)
    until(lambda: status(client, id), lambda found: found == OrchestrationStatus.SUSPENDED)
    client.raise_orchestration_event(id, "decision", data="yes")
    assert status(client, id) == OrchestrationStatus.SUSPENDED
    client.resume_orchestration(id)
    assert output(client, id) == "yes"


def test_a_termination_ends_the_sub_orchestrations_too(client: TaskHubGrpcClient) -> None:
    id = client.schedule_new_orchestration(waiting_parent)
    until(lambda: client.get_orchestration_state(f"{id}-child"), lambda found: found is not None)
    client.terminate_orchestration(id, output="stopped", recursive=True)
    for ending in (ended(client, id), ended(client, f"{id}-child")):
        assert ending.runtime_status == OrchestrationStatus.TERMINATED
        assert ending.get_output() == "stopped"
    assert client.purge_orchestration(id, recursive=True).deleted_instance_count == 2
    assert client.get_orchestration_state(f"{id}-child") is None


def test_a_failure_tells_its_cause_and_a_rewind_runs_only_what_failed(client: TaskHubGrpcClient) -> None:
    broken.set()
    runs.clear()
    id = client.schedule_new_orchestration(fails_once)
    failed = ended(client, id)
    assert failed.runtime_status == OrchestrationStatus.FAILED
    assert failed.failure_details is not None
    assert "it broke" in failed.failure_details.message
    broken.clear()
    client.rewind_orchestration(id, reason="mended")
    assert output(client, id) == ["solid", "fragile"]
    assert runs == ["solid", "fragile", "fragile"]


def test_a_restart_is_with_the_same_input_under_the_same_or_another_id(client: TaskHubGrpcClient) -> None:
    id = client.schedule_new_orchestration(fan_out, input=4, tags={"team": "one"})
    assert output(client, id) == 14
    assert client.restart_orchestration(id) == id
    assert output(client, id) == 14
    other = client.restart_orchestration(id, restart_with_new_instance_id=True)
    assert other != id
    assert output(client, other) == 14


def test_a_start_can_be_later(client: TaskHubGrpcClient) -> None:
    at = datetime.now(UTC) + timedelta(seconds=0.3)
    id = client.schedule_new_orchestration(fan_out, input=2, start_at=at)
    assert status(client, id) == OrchestrationStatus.PENDING
    assert output(client, id) == 1
    assert datetime.now(UTC) >= at


def test_an_id_in_use_is_refused(client: TaskHubGrpcClient) -> None:
    id = client.schedule_new_orchestration(approval)
    with pytest.raises(grpc.RpcError) as refusal:
        client.schedule_new_orchestration(approval, instance_id=id)
    assert refusal.value.code() == grpc.StatusCode.ALREADY_EXISTS
    client.terminate_orchestration(id)


def test_entities_under_a_lock_lose_no_addition(client: TaskHubGrpcClient) -> None:
    ids = [client.schedule_new_orchestration(careful, input="locked") for _ in range(12)]
    assert all(output(client, id) for id in ids)
    counter = client.get_entity(EntityInstanceId("Counter", "locked"))
    assert counter is not None
    assert counter.get_state(int) == 12
    assert counter.get_locked_by() is None


def test_an_operation_that_fails_tells_its_caller(client: TaskHubGrpcClient) -> None:
    assert "not today" in output(client, client.schedule_new_orchestration(refused, input="refused"))


def test_signals_come_in_their_order(client: TaskHubGrpcClient) -> None:
    entity = EntityInstanceId("Counter", "signalled")
    for _ in range(20):
        client.signal_entity(entity, "add", input=1)
    until(lambda: client.get_entity(entity), lambda found: found is not None and found.get_state(int) == 20)
    assert entity in [found.id for found in client.get_all_entities()]


def test_pages_are_whole_and_in_order(client: TaskHubGrpcClient) -> None:
    ids = [client.schedule_new_orchestration(fan_out, input=1, instance_id=f"paged-{n:02}") for n in range(11)]
    for id in ids:
        ended(client, id)
    query = OrchestrationQuery(max_instance_count=3, instance_id_prefix="paged-")
    assert [state.instance_id for state in client.get_all_orchestration_states(query)] == ids
    query.runtime_status = [OrchestrationStatus.RUNNING]
    assert client.get_all_orchestration_states(query) == []
    listed, token = [], None
    while True:
        page = client.list_instance_ids(page_size=4, continuation_token=token)
        listed.extend(page.items)
        if (token := page.continuation_token) is None:
            break
    assert len(set(listed)) == len(listed)
    assert set(ids) <= set(listed)


def test_each_version_is_run_by_the_worker_that_accepts_it(tmp_path: Path) -> None:
    """A worker gives back what it does not accept; the other one gets it."""

    def only(version: str) -> VersioningOptions:
        return VersioningOptions(version, None, VersionMatchStrategy.STRICT, VersionFailureStrategy.REJECT)

    with (
        served(tmp_path / "hub.db") as address,
        contextlib.closing(TaskHubGrpcClient(host_address=address)) as client,
        worker(address, only("1.0")),
        worker(address, only("2.0")),
    ):
        ids = [client.schedule_new_orchestration(versioned, version=version) for version in ("1.0", "2.0") * 3]
        assert [output(client, id) for id in ids] == ["1.0", "2.0"] * 3


def test_a_worker_with_names_gets_nothing_else(tmp_path: Path) -> None:
    with (
        served(tmp_path / "hub.db") as address,
        contextlib.closing(TaskHubGrpcClient(host_address=address)) as client,
        TaskHubGrpcWorker(host_address=address) as other,
    ):
        other.add_orchestrator(parent)
        other.use_work_item_filters()
        other.start()
        id = client.schedule_new_orchestration(parent, input=3)
        until(lambda: client.get_orchestration_state(f"{id}-child"), lambda child: child is not None)
        assert status(client, f"{id}-child") == OrchestrationStatus.PENDING
        with worker(address):
            assert output(client, id) == 5


def test_an_activity_of_a_worker_that_goes_away_is_run_by_another(tmp_path: Path) -> None:
    with (
        served(tmp_path / "hub.db") as address,
        contextlib.closing(TaskHubGrpcClient(host_address=address)) as client,
    ):
        started, release = threading.Event(), threading.Event()

        def hangs(context: ActivityContext, n: int) -> int:
            started.set()
            release.wait(SECONDS)
            return -1

        with TaskHubGrpcWorker(host_address=address) as leaving:
            leaving.add_orchestrator(fan_out)
            leaving._registry.add_named_activity("square", hangs)
            leaving.start()
            id = client.schedule_new_orchestration(fan_out, input=1)
            assert started.wait(SECONDS)
            stopping = threading.Thread(target=leaving.stop)
            stopping.start()
            with worker(address):
                assert output(client, id) == 0
            # Its answer comes when it is somebody else's work, and is to no effect.
            release.set()
            stopping.join()
            assert output(client, id) == 0
