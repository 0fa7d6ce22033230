"""The same work for both systems, turn and turn about, so that whatever else the machine does meets both alike."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from bench.app import offline_app, scripted_app
from bench.engine import bare_engine
from bench.hub import hub_app
from bench.memory import Field, cpu_seconds, memory
from bench.system import TASK_SECONDS, BenchError, System, Timed, time_one
from bench.table import Row

CALLS = 10
PHASES = (
    "from its creation until its first tool call begins",
    "from there until its last tool call has ended",
    "from there until its result is stored",
)
WARM_UP_TASKS = 3
IN_FLIGHT = 32
TASKS_PER_ROUND = 96
LOOK_AT_ALL_SECONDS = 0.1
"""Pause between two looks at all tasks in flight. Looking costs the app as much as a few tool calls."""

IDLE_SECONDS = 10
ENGINE_CALLS = 3000
"""Most calls in one turn that the bare engine comes to the end of: its replays are messages of at most 4 MB."""

type Systems = tuple[System, System]


def one_task(samples: int) -> Iterator[Row]:
    """One task at a time, ten calls each, offline model."""
    with offline_app() as app, bare_engine() as engine:
        systems = (app, engine)
        at_rest = [memory(system.pid, "VmRSS") for system in systems]
        _warm_up(systems)
        perdure, bare = _times(systems, CALLS, samples)
        yield Row(f"one task, {CALLS} tool calls, end to end", "ms", _ms(perdure, "ended"), _ms(bare, "ended"))
        yield Row("- until it is accepted", "ms", _ms(perdure, "accepted"), _ms(bare, "accepted"))
        yield Row("- until its orchestration has ended too", "ms", _ms(perdure, "closed"), _ms(bare, "closed"))
        phases = zip(*(app.phases(one.task_id) for one in perdure), strict=True)
        for what, seconds in zip(PHASES, phases, strict=True):
            yield Row(f"- {what}", "ms", [1000 * one for one in seconds], [])
        yield Row("memory before the first task", "MB", *at_rest)
        yield _memory(f"memory after {samples} such tasks", systems, "VmRSS")
        yield _memory("- at its peak", systems, "VmHWM")


def many_tasks(samples: int) -> Iterator[Row]:
    """32 tasks at any time, ten calls each, offline model."""
    with offline_app() as app, bare_engine() as engine:
        systems = (app, engine)
        _warm_up(systems)
        rates = [[_rate(system) for system in systems] for _ in range(samples)]
        yield Row(f"{IN_FLIGHT} tasks in flight, {CALLS} tool calls each", "tasks/s", *zip(*rates, strict=True))
        yield _memory(f"memory after {samples * TASKS_PER_ROUND} such tasks", systems, "VmRSS")
        yield _memory("- at its peak", systems, "VmHWM")


def wide_turns(samples: Mapping[int, int]) -> Iterator[Row]:
    """One task with many calls in one turn, scripted model.

    Args:
        samples: Number of calls to how often that is measured.
    """
    with scripted_app() as app, bare_engine() as engine:
        systems = (app, engine)
        _warm_up(systems)
        for calls, repetitions in samples.items():
            times = _times(systems, calls, repetitions)
            yield Row(f"one task, {calls:,} tool calls in one turn", "s", *([t.ended for t in one] for one in times))
            yield Row("- per call", "ms", *([1000 * t.ended / calls for t in one] for one in times))
            yield _memory("- peak memory so far", systems, "VmHWM")
        yield _memory("memory after these tasks", systems, "VmRSS")


def task_hub(samples: int, widths: Mapping[int, int], tasks: int) -> Iterator[Row]:
    """The devhost's task hub under stubs, with every step on disk, beside the engine that keeps nothing.

    Args:
        samples: Tasks of ten calls, one at a time, and rounds of many.
        widths: Number of calls in one turn to how often that is measured.
        tasks: After how many tasks memory is looked at again.
    """
    with hub_app() as app, bare_engine() as engine:
        systems = (app, engine)
        _warm_up(systems)
        one, other = _times(systems, CALLS, samples)
        yield Row(f"stubs: one task, {CALLS} tool calls", "ms", _ms(one, "ended"), _ms(other, "ended"))
        for calls, repetitions in widths.items():
            able = systems if calls <= ENGINE_CALLS else systems[:1]
            rounds = [[1000 * time_one(system, calls).ended / calls for system in able] for _ in range(repetitions)]
            durable, bare = [one[0] for one in rounds], [one[1] for one in rounds if len(able) > 1]
            yield Row(f"stubs: {calls:,} tool calls in one turn, per call", "ms", durable, bare)
        rates = [[_rate(system) for system in systems] for _ in range(max(1, samples // 10))]
        yield Row(f"stubs: {IN_FLIGHT} tasks in flight, {CALLS} tool calls each", "tasks/s", *zip(*rates, strict=True))
        yield Row("stubs: memory after these tasks", "MB", memory(app.pid, "VmRSS"), [])
        for _ in range(tasks // TASKS_PER_ROUND):
            _rate(app)
        yield Row(f"stubs: memory after {tasks:,} tasks more", "MB", memory(app.pid, "VmRSS"), [])
        yield Row("stubs: processor time while idle", "% of a core", [100 * _idle(app)], [])


def _idle(system: System) -> float:
    """The share of one core that a system without work takes, over some seconds."""
    before = cpu_seconds(system.pid)
    time.sleep(IDLE_SECONDS)
    return (cpu_seconds(system.pid) - before) / IDLE_SECONDS


def _times(systems: Systems, calls: int, samples: int) -> tuple[Sequence[Timed], Sequence[Timed]]:
    perdure, bare = zip(*([time_one(system, calls) for system in systems] for _ in range(samples)), strict=True)
    return perdure, bare


def _ms(times: Sequence[Timed], until: Literal["accepted", "ended", "closed"]) -> list[float]:
    return [1000 * getattr(one, until) for one in times]


def _memory(what: str, systems: Systems, field: Field) -> Row:
    return Row(what, "MB", *(memory(system.pid, field) for system in systems))


def _warm_up(systems: Systems) -> None:
    # The first tasks open the store, connections and threads, and import what is imported late.
    for system in systems:
        for _ in range(WARM_UP_TASKS):
            time_one(system, CALLS)


def _rate(system: System) -> float:
    """Tasks per second while every task that ends is followed by another, until the last has ended."""
    since, began = time.time(), time.perf_counter()
    started: set[str] = set()
    ended: set[str] = set()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        while len(ended) < TASKS_PER_ROUND:
            if time.perf_counter() - began > TASK_SECONDS:
                raise BenchError(f"{TASKS_PER_ROUND} tasks did not end in {TASK_SECONDS} s")
            room = min(IN_FLIGHT - len(started - ended), TASKS_PER_ROUND - len(started))
            started |= set(pool.map(system.start, [CALLS] * room))
            time.sleep(LOOK_AT_ALL_SECONDS)
            ended |= system.ended(since) & started
    rate = TASKS_PER_ROUND / (time.perf_counter() - began)
    system.verify(started, CALLS)
    return rate
