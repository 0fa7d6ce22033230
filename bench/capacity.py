"""`python -m bench.capacity`: what a load needs in Azure and what it costs, worked out for docs/operations.md.

Limits and prices are constants with their source and the date they were read. What a task does is counted in the code
and said in docs/state.md; how long models and tools take is an assumption, and named as one. Nothing here was measured
in Azure.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from genai_prices import Usage, calc_price

from tests.devhost_process import REPOSITORY

RATES = (10, 1_000, 100_000)
"""Tasks an hour."""

# A task of middling size.
STEPS = 3
CALLS = 4
MODEL_SECONDS, TOOL_SECONDS = 5.0, 0.5
INPUT_TOKENS, OUTPUT_TOKENS = 6_000, 900
MODEL = "gpt-5-mini"
LOOKS = 3
"""How often its caller asks for it before it is done, with `?wait=30`."""

# What it does, counted. docs/state.md has the requests to the store.
ACTIVITIES = STEPS + CALLS + 1
DEPTH = 2 * STEPS
"""Activities one after the other: a turn's tool calls run side by side, and the last turn has none but the end."""
ACTIONS = 1 + 2 * ACTIVITIES
QUERIES = STEPS + CALLS + 1 + LOOKS
READS = 1 + LOOKS
TASK_WRITES = 1 + STEPS + 2 * CALLS + 1
"""The task, its steps, its calls as they are prepared and as they end, and its end: container `tasks`."""
CONTROL_WRITES = 1 + 2 * STEPS + 1
"""The limit of tasks at once, and what each step may use and has used: container `controls`."""
QUERY_UNITS, READ_UNITS, WRITE_UNITS = 3, 1, 8
"""Request units: an assumption for documents of about a kilobyte with a lean index. A point read of 1 KB is 1, by
definition: https://learn.microsoft.com/azure/cosmos-db/request-units"""
TASK_UNITS = QUERIES * QUERY_UNITS + READS * READ_UNITS + TASK_WRITES * WRITE_UNITS
UNITS = TASK_UNITS + CONTROL_WRITES * WRITE_UNITS
DELTAS = int(STEPS * MODEL_SECONDS * 10)
"""Writes that let a text be followed while it comes: ten a second at most, none without PERDURE_STREAM_TEXT."""

# Limits, read in November 2026.
TASKS_PER_CORE = 6
"""12 tasks/s with 10 tool calls each on two cores: bench/README.md."""
STORAGE_SEQUENTIAL, STORAGE_FAN_OUT = 5, 100
"""Activities/s of one orchestration on Azure Storage:
https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-azure-storage-provider#performance-targets"""
QUEUE_MESSAGES = 2_000
"""A second and queue: https://learn.microsoft.com/azure/storage/queues/scalability-targets"""
CONSUMPTION_ACTIONS, CAPACITY_UNIT_ACTIONS = 500, 2_000
"""A second: https://learn.microsoft.com/azure/azure-functions/durable/durable-task-scheduler/durable-task-scheduler-billing"""
SERVERLESS_UNITS = 5_000
"""Request units a second of a serverless container on one physical partition:
https://learn.microsoft.com/azure/cosmos-db/serverless-performance"""
CHAT_CAPACITY = 100
"""Thousands of tokens a minute: the default of infra/main.bicep."""

# Prices in US dollars, list, East US, read in November 2026.
GB_SECOND, READY_GB_SECOND, MILLION_EXECUTIONS = 0.000026, 0.000004, 0.40
"""Flex Consumption, without the free grant: https://azure.microsoft.com/pricing/details/functions/"""
MILLION_UNITS = 0.25
"""Azure Cosmos DB serverless: https://azure.microsoft.com/pricing/details/cosmos-db/serverless/"""
INSTANCE_GB = 2


@dataclass(frozen=True)
class Load:
    """A rate, and what follows from it."""

    per_hour: int

    @property
    def per_second(self) -> float:
        return self.per_hour / 3600

    @property
    def seconds(self) -> float:
        """From start to end of a task, the hub's own time left out: a turn's calls run side by side."""
        return STEPS * MODEL_SECONDS + (STEPS - 1) * TOOL_SECONDS

    @property
    def in_flight(self) -> float:
        """Activities at one time: rate times time, which is Little's law."""
        return self.per_second * (STEPS * MODEL_SECONDS + CALLS * TOOL_SECONDS)

    @property
    def instances(self) -> int:
        by_slots = math.ceil(self.in_flight / host("maxConcurrentActivityFunctions"))
        return max(by_slots, math.ceil(self.per_second / TASKS_PER_CORE))

    @property
    def actions(self) -> float:
        return self.per_second * ACTIONS

    @property
    def units(self) -> float:
        """A second, in the container that has most of them."""
        return self.per_second * TASK_UNITS

    @property
    def delta_units(self) -> float:
        return self.per_second * DELTAS * WRITE_UNITS

    @property
    def tokens_per_minute(self) -> float:
        return self.per_second * 60 * (INPUT_TOKENS + OUTPUT_TOKENS)

    @property
    def queue_messages(self) -> float:
        """A second, in each control queue: one for every activity's result, and the start."""
        return self.per_second * (ACTIVITIES + 1) / host("partitionCount")

    @property
    def active_seconds(self) -> float:
        """Of instances, an hour: no more than tasks take one after the other, and no more than there are."""
        return min(self.per_hour * self.seconds, self.instances * 3600.0)

    def thousand(self, dollars_an_hour: float) -> float:
        """Dollars for 1,000 tasks."""
        return 1000 * dollars_an_hour / self.per_hour


@cache
def host(setting: str) -> int:
    durable = json.loads((REPOSITORY / "host.json").read_text("utf-8"))["extensions"]["durableTask"]
    return (durable | durable["storageProvider"])[setting]


def model_cost(tasks: int) -> float:
    usage = Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS)
    price: Decimal = calc_price(usage, model_ref=MODEL, provider_id="azure").total_price
    return tasks * float(price)


def needs() -> str:
    partitions, loads = host("partitionCount"), [Load(rate) for rate in RATES]
    rows: list[tuple[str, Callable[[Load], str]]] = [
        ("tasks a second", lambda load: f"{load.per_second:.3g}"),
        ("activities running at one time", lambda load: f"{load.in_flight:.3g}"),
        ("instances (of at most 1,000)", lambda load: f"{load.instances:,}"),
        (
            f"messages a second in each of {partitions} control queues (of {QUEUE_MESSAGES:,})",
            lambda load: f"{load.queue_messages:.3g}",
        ),
        (
            f"scheduler actions a second (Consumption: of {CONSUMPTION_ACTIONS}; a capacity unit: of "
            f"{CAPACITY_UNIT_ACTIONS:,})",
            lambda load: f"{load.actions:.3g}",
        ),
        (f"request units a second in `tasks` (of {SERVERLESS_UNITS:,})", lambda load: units(load.units)),
        ("- while texts are streamed, at most", lambda load: units(load.units + load.delta_units)),
        (f"tokens a minute (of {CHAT_CAPACITY},000, the default)", lambda load: f"{load.tokens_per_minute:,.0f}"),
    ]
    return table("tasks an hour", [[name, *(cell(load) for load in loads)] for name, cell in rows])


def units(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:.2f}"


def costs() -> str:
    loads = [Load(rate) for rate in RATES]
    rows = [
        ("model", [model_cost(1000)] * len(loads)),
        ("instances, while active", [load.thousand(load.active_seconds * INSTANCE_GB * GB_SECOND) for load in loads]),
        ("one instance always ready", [load.thousand(3600 * INSTANCE_GB * READY_GB_SECOND) for load in loads]),
        ("executions", [executions() * 1000 * MILLION_EXECUTIONS / 1e6] * len(loads)),
        ("request units", [UNITS * 1000 * MILLION_UNITS / 1e6] * len(loads)),
        ("- for texts that are streamed, at most", [DELTAS * WRITE_UNITS * 1000 * MILLION_UNITS / 1e6] * len(loads)),
    ]
    total = [sum(values) for values in zip(*(values for _, values in rows), strict=True)]
    lines = [[name, *(f"{value:.2f}" for value in values)] for name, values in [*rows, ("**together**", total)]]
    return table("US dollars per 1,000 tasks, at tasks an hour", lines)


def executions() -> int:
    """Of functions, for one task: the start, looks, activities, and a turn of the orchestrator after most of them."""
    return 1 + LOOKS + ACTIVITIES + DEPTH + 1


def table(what: str, rows: list[list[str]]) -> str:
    lines = [[what, *(f"{rate:,}" for rate in RATES)], ["---", *["--:"] * len(RATES)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report() -> str:
    task = (
        f"A task of {STEPS} model steps of {MODEL_SECONDS:g} s, {CALLS} tool calls of {TOOL_SECONDS:g} s, "
        f"{INPUT_TOKENS:,} tokens in and {OUTPUT_TOKENS:,} out, whose caller looks {LOOKS} times, is {ACTIVITIES} "
        f"activities, {ACTIONS} scheduler actions (1 + 2 × {ACTIVITIES}), {executions()} executions and about {UNITS} "
        f"request units ({QUERIES} queries × {QUERY_UNITS}, {READS} reads × {READ_UNITS}, "
        f"{TASK_WRITES + CONTROL_WRITES} writes × {WRITE_UNITS}). It takes {Load(1).seconds:g} s, and on Azure "
        f"Storage {DEPTH / STORAGE_SEQUENTIAL:.1f} s "
        f"more: {DEPTH} activities one after the other at {STORAGE_SEQUENTIAL} a second."
    )
    return f"{task}\n\n{needs()}\n\n{costs()}"


if __name__ == "__main__":
    print(report())
