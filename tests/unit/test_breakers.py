"""Breakers that all processes share: what they cost, what a failing store does to them, and eight processes at once."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from perdure.documents.port import Documents, StoreUnavailable
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.breaker import Breaker, Policy, State
from perdure.stores.breakers import FRESH_SECONDS, BreakerOpen, Breakers, Entry
from tests.counting_documents import CountingDocuments

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
POLICY = Policy(failures=3, probe_seconds=10)
NAME = "model:gpt"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def counting() -> AsyncIterator[CountingDocuments]:
    documents = SqliteDocuments(":memory:")
    yield CountingDocuments(documents)
    await documents.close()


@dataclass
class Process:
    """What one process has of the breakers."""

    counting: CountingDocuments
    clock: Clock
    breakers: Breakers = field(init=False)

    def __post_init__(self) -> None:
        self.breakers = Breakers(cast("Documents", self.counting), POLICY, self.clock)

    async def fails(self, times: int = POLICY.failures) -> None:
        for _ in range(times):
            await self.breakers.failed(Entry("system", NAME))

    async def refused(self) -> float:
        with pytest.raises(BreakerOpen) as error:
            await self.breakers.enter(NAME)
        return error.value.retry_after


@pytest.fixture
def one(counting: CountingDocuments, clock: Clock) -> Process:
    return Process(counting, clock)


@pytest.fixture
def other(counting: CountingDocuments, clock: Clock) -> Process:
    return Process(counting, clock)


async def test_while_all_is_well_the_store_is_asked_once_in_a_while(one: Process) -> None:
    for _ in range(100):
        await one.breakers.succeeded(await one.breakers.enter(NAME))
    assert one.counting.requests == {"read": 1}
    one.clock.now += FRESH_SECONDS
    for _ in range(100):
        await one.breakers.succeeded(await one.breakers.enter(NAME))
    assert one.counting.requests == {"read": 2}


async def test_while_it_is_open_a_refusal_costs_no_more(one: Process) -> None:
    await one.fails()
    one.counting.reset()
    assert {await one.refused() for _ in range(100)} == {10}
    assert not one.counting.requests


async def test_failures_of_all_processes_count_together(one: Process, other: Process) -> None:
    await one.fails(2)
    await other.fails(1)
    assert await one.breakers.look(NAME) == Breaker(failures=2), "what it saw itself is still fresh"
    one.clock.now += FRESH_SECONDS
    assert await one.refused() == 10 - FRESH_SECONDS


async def test_a_success_forgets_the_failures_that_were_seen(one: Process, other: Process) -> None:
    await one.fails(2)
    await other.breakers.succeeded(await other.breakers.enter(NAME))
    await other.fails(2)
    assert (await one.breakers.enter(NAME)).probe is False


async def test_of_all_processes_one_probes_and_its_success_lets_all_in(one: Process, other: Process) -> None:
    await one.fails()
    assert await other.refused() == 10
    one.clock.now += 10
    probe = await one.breakers.enter(NAME)
    assert probe.probe
    assert await other.refused() == await one.refused() == 10
    await one.breakers.succeeded(probe)
    assert not (await one.breakers.enter(NAME)).probe
    one.clock.now += FRESH_SECONDS
    assert not (await other.breakers.enter(NAME)).probe


async def test_of_many_that_ask_at_once_one_probes(one: Process, other: Process) -> None:
    await one.fails()
    one.clock.now += 10
    asked = [process.breakers.enter(NAME) for process in (one, other) * 20]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [answer.probe for answer in answers if isinstance(answer, Entry)] == [True]
    assert sum(isinstance(answer, BreakerOpen) for answer in answers) == 39


async def test_a_process_that_dies_probing_holds_up_nothing(one: Process, other: Process) -> None:
    await one.fails()
    one.clock.now += 10
    await one.breakers.enter(NAME)
    one.clock.now += 10
    assert (await other.breakers.enter(NAME)).probe


async def test_names_and_tenants_are_apart(one: Process) -> None:
    await one.fails()
    await one.breakers.enter("tool:mail")
    await one.breakers.enter(NAME, tenant="another")
    assert await one.refused()


async def test_all_breakers_can_be_listed(one: Process) -> None:
    assert [found async for found in one.breakers.all()] == []
    await one.fails()
    assert [found async for found in one.breakers.all()] == [(NAME, Breaker(State.OPEN, 0, one.clock.now + 10))]


@dataclass
class DeadStore:
    """A store that does not answer."""

    store: Documents

    def __getattr__(self, name: str) -> Any:
        async def fail(*args: Any, **kwargs: Any) -> Any:
            raise StoreUnavailable("scripted")

        return fail


async def test_a_store_that_fails_refuses_nothing(clock: Clock) -> None:
    documents = SqliteDocuments(":memory:")
    breakers = Breakers(cast("Documents", DeadStore(documents)), POLICY, clock)
    for _ in range(10):
        entry = await breakers.enter(NAME)
        await breakers.failed(entry)
    await breakers.succeeded(await breakers.enter(NAME))
    await documents.close()


async def test_a_store_that_fails_when_a_probe_is_due_lets_it_through(one: Process) -> None:
    await one.fails()
    one.clock.now += 10
    one.breakers._documents = cast("Any", DeadStore(cast("Documents", one.counting)))
    assert not (await one.breakers.enter(NAME)).probe


# Eight processes at once.

PROCESSES = 8
INTERVAL = 2.0
ASKER = """
import asyncio, sys, time
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.breaker import Policy
from perdure.stores.breakers import BreakerOpen, Breakers

file, port, interval = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])


async def ask():
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = await reader.read()
    writer.close()
    return said == b"up"


async def main():
    breakers = Breakers(SqliteDocuments(file), Policy(3, interval))
    while True:
        try:
            entry = await breakers.enter("model:gpt")
        except BreakerOpen:
            # As impatient as can be: whoever would ask too often does.
            await asyncio.sleep(0.02)
            continue
        if await ask():
            await breakers.succeeded(entry)
            return print("answered", flush=True)
        await breakers.failed(entry)


asyncio.run(main())
"""


class Provider:
    """Counts who connects, and says whether it is up."""

    def __init__(self) -> None:
        self.up = False
        self.asked: list[float] = []
        self._news = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(time.monotonic())
        writer.write(b"up" if self.up else b"down")
        writer.close()
        async with self._news:
            self._news.notify_all()

    async def has_been_asked(self, times: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: len(self.asked) >= times)


@contextmanager
def askers(file: Path, port: int) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-c", ASKER, str(file), str(port), str(INTERVAL)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def test_a_dead_provider_has_one_probe_an_interval_of_eight_processes_and_its_recovery_is_noticed(
    tmp_path: Path,
) -> None:
    provider = Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1")
    # Opened before they start, so that the probes of all of them are counted.
    documents = SqliteDocuments(str(tmp_path / "state.db"))
    breakers = Breakers(documents, Policy(3, INTERVAL))
    opened = time.monotonic()
    for _ in range(3):
        await breakers.failed(Entry("system", NAME))
    with askers(tmp_path / "state.db", server.sockets[0].getsockname()[1]) as processes:
        await provider.has_been_asked(4)
        probes = len(provider.asked)
        assert probes <= (provider.asked[-1] - opened) / INTERVAL
        provider.up, recovered = True, time.monotonic()
        await provider.has_been_asked(probes + 1)
        assert provider.asked[probes] - recovered < INTERVAL + 1.0, "a second for two busy cores"
        said = await asyncio.gather(*(asyncio.to_thread(process.communicate) for process in processes))
    server.close()
    await server.wait_closed()
    await documents.close()
    assert said == [("answered\n", None)] * PROCESSES
