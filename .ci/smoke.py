"""Does a deployment work? Starts a task, follows it to its answer, and says how long that took.

    PERDURE_API_KEY=... python .ci/smoke.py https://func-....azurewebsites.net

Ends with 0 when the agent answered. The key comes from the environment alone, so that no list of processes shows it.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

QUERY = "What is 17 * 23?"
ANSWER = "391"
START_SECONDS = 300
"""To be healthy: a first start fetches the package and waits for new roles to be known everywhere."""
TASK_SECONDS = 300
PAUSE_SECONDS = 2


class SmokeError(Exception):
    """The deployment does not do what it is for."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python .ci/smoke.py", description=__doc__.splitlines()[0])
    parser.add_argument("url", help="of the deployment, without /api")
    url = parser.parse_args().url.rstrip("/")
    key = os.environ.get("PERDURE_API_KEY", "")
    if not key:
        parser.error("PERDURE_API_KEY is not set")
    try:
        wait_until_healthy(url)
        task, seconds = run_task(url, key)
    except SmokeError as error:
        sys.stderr.write(f"smoke: {error}\n")
        return 1
    sys.stdout.write(f"smoke: task {task['task_id']} answered in {seconds:.1f} s: {task['result']}\n")
    return 0


def wait_until_healthy(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        status, body = ask(f"{url}/api/health")
        if status == 200:
            return
        if time.monotonic() > deadline:
            raise SmokeError(f"not healthy after {START_SECONDS} s: {status} {body}")
        time.sleep(PAUSE_SECONDS)


def run_task(url: str, key: str) -> tuple[Mapping[str, Any], float]:
    began = time.monotonic()
    status, started = ask(f"{url}/api/agent/task", key, {"query": QUERY})
    if status != 202:
        raise SmokeError(f"POST /api/agent/task answers {status}: {started}")
    while True:
        status, task = ask(f"{url}/api/agent/task/{started['task_id']}?wait=30", key)
        if status == 200:
            break
        if status != 202 or time.monotonic() - began > TASK_SECONDS:
            raise SmokeError(f"the task is not done after {time.monotonic() - began:.0f} s: {status} {task}")
        time.sleep(PAUSE_SECONDS)
    if task["status"] != "completed" or ANSWER not in task["result"]:
        raise SmokeError(f"the task ended otherwise than with {ANSWER}: {task}")
    return task, time.monotonic() - began


def ask(url: str, key: str = "", body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
    """The status and the JSON of an answer; status 0 and the reason when there is none."""
    headers = {"X-API-Key": key} if key else {}
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")[:500]
    except (OSError, ValueError) as error:
        return 0, str(error)


if __name__ == "__main__":
    sys.exit(main())
