"""Looking at a task that has ended: how long one look takes, and how many a second 16 clients get answered."""

import functools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx

from bench.app import offline_app
from bench.system import BenchError
from bench.table import Row

CALLS = 10
CLIENTS = 16


def status(looks: int) -> Iterator[Row]:
    """Time looks at a task with ten tool calls, by its own route and by its status URL.

    Args:
        looks: How many are timed one by one; as many again, ten times over, are made by several clients at once.
    """
    with offline_app() as app:
        task_id = app.start(CALLS)
        app.verify([task_id], CALLS)
        for what, path in (("a task", ""), ("its status URL, owner-checked", "/status")):
            url = f"/agent/task/{task_id}{path}"
            yield Row(f"GET {what}", "ms", [1000 * _look(app.client, url) for _ in range(looks)], [])
            with ThreadPoolExecutor(CLIENTS) as pool:
                began = time.perf_counter()
                list(pool.map(functools.partial(_look, app.client), [url] * (looks * 10)))
                rate = looks * 10 / (time.perf_counter() - began)
            yield Row(f"- {CLIENTS} clients at once", "requests/s", [rate], [])


def _look(client: httpx.Client, url: str) -> float:
    began = time.perf_counter()
    answer = client.get(url)
    if answer.status_code != 200:
        raise BenchError(f"{url} was answered {answer.status_code}")
    return time.perf_counter() - began
