"""The bare engine: durabletask's own in-memory hub and worker in one process, as shipped.

`python -m bench.engine_process PORT` serves until its standard input is closed. Its orchestrator has the shape of an
agent task and nothing else: no deadline, no cancellation, no retries, no store.
"""

import sys
from collections.abc import Generator
from typing import Any

from durabletask.task import ActivityContext, OrchestrationContext, Task, when_all
from durabletask.testing import create_test_backend
from durabletask.worker import TaskHubGrpcWorker

RESULT = "x" * 200


def bare_task(ctx: OrchestrationContext, calls: int) -> Generator[Task[Any], Any, int]:
    yield ctx.call_activity(model_step, input={"task": ctx.instance_id, "step": 1})
    refs = [{"task": ctx.instance_id, "step": 1, "index": index} for index in range(calls)]
    results = yield when_all([ctx.call_activity(tool_call, input=ref) for ref in refs])
    yield ctx.call_activity(model_step, input={"task": ctx.instance_id, "step": 2})
    yield ctx.call_activity(persist, input={"task": ctx.instance_id, "step": 2})
    return len(results)


def model_step(ctx: ActivityContext, ref: dict[str, Any]) -> str:
    return RESULT


def tool_call(ctx: ActivityContext, ref: dict[str, Any]) -> str:
    return RESULT


def persist(ctx: ActivityContext, ref: dict[str, Any]) -> str:
    return RESULT


def serve(port: int) -> None:
    """Serve on a loopback port until standard input ends."""
    backend = create_test_backend(port=port)
    worker = TaskHubGrpcWorker(host_address=f"127.0.0.1:{port}", secure_channel=False)
    worker.add_orchestrator(bare_task)
    for activity in (model_step, tool_call, persist):
        worker.add_activity(activity)
    worker.start()
    print("ready", flush=True)
    sys.stdin.read()
    worker.stop()
    backend.stop()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
