"""`python -m bench`: measure, and print a Markdown table row by row."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator

from bench.package import package
from bench.search import search
from bench.startup import startup
from bench.status import status
from bench.store import store_costs
from bench.system import BenchError
from bench.table import Row, header, line
from bench.workloads import many_tasks, one_task, task_hub, wide_turns

type Workload = Callable[[], Iterator[Row]]

WORKLOADS: dict[str, Workload] = {
    "startup": lambda: startup(5),
    "package": lambda: package(5),
    "task": lambda: one_task(50),
    "throughput": lambda: many_tasks(5),
    "turns": lambda: wide_turns({100: 10, 1000: 3, 3000: 3}),
    "hub": lambda: task_hub(50, {100: 10, 1000: 5, 5000: 3}, 10_000),
    "status": lambda: status(200),
    "search": lambda: search(20),
}
QUICK: dict[str, Workload] = {
    "startup": lambda: startup(1),
    "package": lambda: package(1),
    "task": lambda: one_task(5),
    "throughput": lambda: many_tasks(1),
    "turns": lambda: wide_turns({100: 2, 1000: 1, 3000: 1}),
    "hub": lambda: task_hub(5, {100: 2, 1000: 1, 5000: 1}, 200),
    "status": lambda: status(20),
    "search": lambda: search(3),
}


def main() -> int:
    """Run the workloads that were asked for.

    Returns:
        The exit code: 1 if a system did not do the work.
    """
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Perdure beside the bare engine.")
    parser.add_argument("--only", choices=[*WORKLOADS, "store"], help="run this workload alone")
    parser.add_argument("--quick", action="store_true", help="few repetitions, to see whether it works")
    options = parser.parse_args()
    workloads = QUICK if options.quick else WORKLOADS
    began = time.monotonic()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}. Medians (p10–p90).\n")
    timed = [name for name in workloads if options.only in (None, name)]
    try:
        if timed:
            print(header(), flush=True)
        for name in timed:
            for row in workloads[name]():
                print(line(row.cells()), flush=True)
        if options.only in (None, "store"):
            print(f"\nRequests to the store, and bytes of JSON moved:\n\n{store_costs()}")
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"\n{time.monotonic() - began:.0f} s in all.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
