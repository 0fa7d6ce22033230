"""What an operator sees of a task: one trace, metrics, logs that carry its ids. And what happens if nobody takes it."""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import FAULTY
from tests.app import App, ScriptedProvider, make_app_folder
from tests.devhost_process import REPOSITORY, until
from tests.openai_server import Answer, Call, Failure
from tests.otlp_collector import Collector, LogTaken, SpanTaken, Taken

SECRET = "the colour is ultramarine"
EXPORT_SECONDS = 10
"""How long an export waits for an endpoint that is silent. Nothing may take nearly so long."""

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    """Of these tests alone: their app exports."""
    provider = ScriptedProvider()
    with provider.server:
        yield provider


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def settings(provider: ScriptedProvider) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": provider.server.base_url,
        "PERDURE_MODEL": "scripted",
        "PERDURE_PRICES": json.dumps({"scripted": {"input": 1, "output": 2}}),
    }


def folder_in(folder: Path) -> Path:
    return make_app_folder(folder, [REPOSITORY / "tests" / "fault_tools.py"], {"faulty": FAULTY})


@pytest.fixture(scope="module")
def running(
    provider: ScriptedProvider, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    folder = folder_in(tmp_path_factory.mktemp("traced"))
    with App(folder, settings(provider) | collector.settings) as app:
        yield app


def call(name: str, number: int = 0, **arguments: Any) -> Call:
    return Call(name, json.dumps(arguments), f"call_{number}")


def finished(collector: Collector, task_id: str) -> list[SpanTaken]:
    """The trace of a task once it is whole."""
    collector.wait_for(lambda taken: taken.has_ended(task_id))

    def settled(taken: Taken) -> list[SpanTaken] | None:
        spans = taken.trace(task_id)
        ids = {span.span_id for span in spans}
        return spans if all(span.parent_id in ids for span in spans if span.parent_id and not is_root(span)) else None

    return collector.wait_for(settled)


def is_root(span: SpanTaken) -> bool:
    return span.name.startswith("POST ")


def tree(spans: list[SpanTaken]) -> list[Any]:
    """Spans as nested lists of names, those of one name in the order in which they began; ! marks one that failed."""
    ids = {span.span_id for span in spans}

    def below(parent: str) -> list[Any]:
        own = [span for span in spans if (span.parent_id == parent if parent else span.parent_id not in ids)]
        found: list[Any] = []
        for span in sorted(own, key=lambda span: (span.name, span.start)):
            found.append(span.name + "!" * span.failed)
            if inner := below(span.span_id):
                found.append(inner)
        return found

    return below("")


def test_a_task_is_one_trace_with_every_attempt_in_it_and_nothing_twice(
    running: App, provider: ScriptedProvider, collector: Collector, tmp_path: Path
) -> None:
    """Its orchestrator is replayed at every turn; one activity fails twice, and the model once."""
    counter = str(tmp_path / "attempts")
    query = provider.plan(
        f"Try hard: {SECRET}",
        [
            Failure(503, headers={"Retry-After": "0"}),
            Answer("I try.", (call("flaky", 0, counter=counter), call("echo", 1, text=SECRET)), usage=(100, 20)),
            Answer("Done.", usage=(200, 10)),
        ],
    )
    task = running.run(query, agent="faulty")
    assert task["reason"] == "answered"
    spans = finished(collector, task["task_id"])
    assert tree(spans) == [
        "POST /api/agent/task",
        [
            "invoke_agent faulty",
            [
                "step 1",
                [
                    "chat scripted!",
                    "chat scripted",
                    "execute_tool echo",
                    "execute_tool flaky!",
                    "execute_tool flaky!",
                    "execute_tool flaky",
                ],
                "step 2",
                ["chat scripted"],
            ],
        ],
    ]
    assert len({span.span_id for span in spans}) == len(spans)


def test_spans_say_what_the_genai_conventions_ask_for_and_nothing_that_was_said(
    running: App, provider: ScriptedProvider, collector: Collector
) -> None:
    query = provider.plan(
        f"What colour? {SECRET}",
        [
            Answer(SECRET, (call("echo", 0, text=SECRET), call("explode", 1, message=SECRET)), usage=(100, 20)),
            Answer(SECRET, usage=(200, 10)),
        ],
    )
    task = running.run(query, agent="faulty")
    spans = finished(collector, task["task_id"])
    named = {span.name: span for span in spans}
    common = {"perdure.tenant": "default", "perdure.task.id": task["task_id"], "gen_ai.agent.name": "faulty"}
    first = next(span for span in spans if span.name == "chat scripted" and span.attributes["perdure.step"] == 1)
    assert first.attributes == common | {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "scripted",
        "gen_ai.request.max_tokens": 4096,
        "gen_ai.response.model": "scripted-model",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "perdure.cost.usd": 0.00014,
        "perdure.step": 1,
    }
    tool = common | {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.type": "function", "perdure.step": 1}
    assert named["execute_tool echo"].attributes == tool | {
        "gen_ai.tool.name": "echo", "perdure.call.index": 0, "perdure.call.state": "committed",
    }  # fmt: skip
    assert named["execute_tool explode"].attributes == tool | {
        "gen_ai.tool.name": "explode", "perdure.call.index": 1, "perdure.call.state": "failed", "error.type": "failed",
    }  # fmt: skip
    assert named["invoke_agent faulty"].attributes == common | {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.request.model": "scripted",
        "gen_ai.usage.input_tokens": 300,
        "gen_ai.usage.output_tokens": 30,
        "perdure.cost.usd": 0.00036,
        "perdure.steps": 2,
        "perdure.task.status": "completed",
        "perdure.task.reason": "answered",
    }
    assert not any(SECRET in str(span) or span.said or span.events for span in spans)


def test_the_operator_can_see_a_task_as_a_tree_in_the_terminal(
    running: App, provider: ScriptedProvider, collector: Collector
) -> None:
    query = provider.plan("Draw", [Answer(calls=(call("echo", text="x"),), usage=(100, 20)), Answer("Drawn.")])
    task_id = running.run(query, agent="faulty")["task_id"]
    drawn = re.sub(r" +[+ ]\d+\.\d{3} s +\d+\.\d{3} s", " :", running.command("trace", task_id))
    [trace_id] = {span.trace_id for span in finished(collector, task_id)}
    assert drawn.splitlines() == [
        f"task {task_id}  trace {trace_id}",
        "invoke_agent faulty :  completed, answered, 107 + 25 tokens, $0.000157",
        "├─ step 1 :",
        "│  ├─ chat scripted-model :  100 + 20 tokens, $0.000140",
        "│  └─ execute_tool echo :  committed",
        "└─ step 2 :",
        "   └─ chat scripted-model :  7 + 5 tokens, $0.000017",
    ]


def test_a_task_is_part_of_the_trace_of_whoever_asks_for_it(
    running: App, provider: ScriptedProvider, collector: Collector
) -> None:
    query = provider.plan("Hello from afar", [Answer("Hello.")])
    headers = {"traceparent": CALLER}
    started = running.client.post("/agent/task", json={"query": query}, headers=headers).json()
    running.finish(started["task_id"])
    spans = finished(collector, started["task_id"])
    [root] = [span for span in spans if is_root(span)]
    assert (root.trace_id, root.parent_id) == (CALLER.split("-")[1], CALLER.split("-")[2])
    assert root.attributes["http.response.status_code"] == 202


def test_a_cancelled_task_has_a_whole_trace_too(
    running: App, provider: ScriptedProvider, collector: Collector, tmp_path: Path
) -> None:
    query = provider.plan("Leave a file", [Answer(calls=(call("slow_effect", folder=str(tmp_path)),))])
    task_id = running.start(query, agent="faulty")["task_id"]
    until(lambda: list(tmp_path.iterdir()), bool)
    assert running.client.post(f"/agent/task/{task_id}/cancel").status_code == 200
    spans = finished(collector, task_id)
    [task] = [span for span in spans if span.name == "invoke_agent faulty"]
    assert task.attributes["perdure.task.reason"] == "cancelled"
    collector.wait_for(lambda taken: any(span.name == "execute_tool slow_effect" for span in taken.trace(task_id)))
    assert tree(finished(collector, task_id)) == [
        "POST /api/agent/task",
        ["invoke_agent faulty", ["step 1", ["chat scripted", "execute_tool slow_effect"]]],
    ]


def test_log_records_carry_the_ids_of_task_tenant_and_trace(
    running: App, provider: ScriptedProvider, collector: Collector
) -> None:
    query = provider.plan(f"Explode: {SECRET}", [Answer(calls=(call("explode", message=SECRET),)), Answer("Boom.")])
    task = running.run(query, agent="faulty")
    [trace_id] = {span.trace_id for span in finished(collector, task["task_id"])}

    def of_task(taken: Taken) -> list[LogTaken]:
        logs = [log for log in taken.logs if log.attributes.get("perdure.task.id") == task["task_id"]]
        return logs if any("ended completed" in log.body for log in logs) else []

    logs = collector.wait_for(of_task)
    [failure] = [log for log in logs if log.body.startswith("tool explode failed")]
    assert failure.trace_id == trace_id
    assert all((log.attributes["perdure.tenant"], log.trace_id) == ("default", trace_id) for log in logs)
    assert SECRET not in str(logs)


def test_metrics_count_tokens_money_time_and_tasks(
    running: App, provider: ScriptedProvider, collector: Collector
) -> None:
    query = provider.plan("Count", [Answer(calls=(call("echo", text="x"),), usage=(1000, 0)), Answer("Counted.")])
    task = running.run(query, agent="faulty")
    finished(collector, task["task_id"])
    names = {
        "gen_ai.client.token.usage", "gen_ai.client.operation.duration", "perdure.tool.duration", "perdure.cost",
        "perdure.task.queue_time", "perdure.task.duration", "perdure.tasks.active",
    }  # fmt: skip
    metrics = collector.wait_for(lambda taken: names <= set(taken.metrics) and taken.metrics)
    cost = metrics["perdure.cost"]
    whose = {"gen_ai.request.model": "scripted", "gen_ai.agent.name": "faulty", "perdure.tenant": "default"}
    spent = cost[frozenset(whose.items())]
    assert spent.value > 0
    active = frozenset({("perdure.tenant", "default")})
    collector.wait_for(lambda taken: taken.metrics["perdure.tasks.active"][active].value == 0)


def test_a_step_that_no_budget_has_room_for_is_counted(
    running: App, provider: ScriptedProvider, collector: Collector
) -> None:
    query = provider.plan("Spend it all", [Answer(calls=(call("echo", text="x"),), usage=(1000, 0))])
    task = running.run(query, agent="faulty", budget={"tokens": 1500})
    assert task["reason"] == "budget_exceeded"
    whose = frozenset({("perdure.tenant", "default"), ("gen_ai.agent.name", "faulty")})
    collector.wait_for(lambda taken: taken.metrics.get("perdure.budget.rejections", {}).get(whose))
    [task_span] = [span for span in finished(collector, task["task_id"]) if span.name == "invoke_agent faulty"]
    assert (task_span.failed, task_span.attributes["error.type"]) == (True, "budget_exceeded")


def test_a_task_whose_host_is_killed_is_still_one_trace(
    provider: ScriptedProvider, collector: Collector, tmp_path: Path
) -> None:
    """A tool is at work when the host dies. Its second attempt, in another process, is below the same step."""
    folder, state = folder_in(tmp_path / "app"), str(tmp_path / "hub")
    query = provider.plan("Nap through it", [Answer(calls=(call("nap", seconds=1),)), Answer("Rested.")])
    env = settings(provider) | collector.settings
    app = App(folder, env, ["--state", state])
    with app:
        task_id = app.start(query, agent="faulty")["task_id"]
        collector.wait_for(
            lambda taken: any(
                s.name == "chat scripted" and s.attributes["perdure.task.id"] == task_id for s in taken.spans
            )
        )
        app.host.kill()
    with App(folder, env, ["--state", state]) as again:
        assert again.finish(task_id, client=again.client)["result"] == "Rested."
    assert tree(finished(collector, task_id)) == [
        "POST /api/agent/task",
        ["invoke_agent faulty", ["step 1", ["chat scripted", "execute_tool nap"], "step 2", ["chat scripted"]]],
    ]


@pytest.fixture
def silent() -> Iterator[str]:
    """An endpoint that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    """An endpoint that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["silent", "closed"])
def test_telemetry_that_nobody_takes_slows_no_task_and_no_end(
    kind: str, provider: ScriptedProvider, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    endpoint = request.getfixturevalue(kind)
    tight = {"OTEL_BSP_MAX_QUEUE_SIZE": "16", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8", "OTEL_BSP_SCHEDULE_DELAY": "10"}
    with App(
        folder_in(tmp_path / "app"), settings(provider) | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} | tight
    ) as app:
        for number in range(20):
            begun = time.monotonic()
            app.run(provider.plan(f"Question {number}", [Answer("Answer.")]))
            assert time.monotonic() - begun < EXPORT_SECONDS / 2
        begun = time.monotonic()
    assert time.monotonic() - begun < EXPORT_SECONDS / 2
