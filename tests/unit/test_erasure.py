"""Erasures where something comes in between: what still runs, a hub that hangs, another erasure, a store that fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perdure.agents import load_agents
from perdure.api import erasure as erasures
from perdure.api.erasure import advance, advance_all
from perdure.api.tasks import end
from perdure.api.threads import enter_thread, own_thread
from perdure.bootstrap import Services, build
from perdure.documents.containers import MEMORIES, THREADS, Container
from perdure.documents.port import Body, DocumentExists, Partition, Stored, StoreUnavailable
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.principal import Principal
from perdure.domain.references import StepRef
from perdure.domain.task import Agent, Limits, Reason, Task
from perdure.settings import Settings
from perdure.stores.memory_documents import INGESTION
from perdure.stores.user_data import Place
from perdure.tools.registry import ToolRegistry

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC) - timedelta(seconds=1)


class Documents(SqliteDocuments):
    """Does something before a document is replaced, and once it is found to be there already."""

    before: Callable[[Body], Awaitable[object] | None] = staticmethod(lambda body: None)
    found: Callable[[Body], Awaitable[object] | None] = staticmethod(lambda body: None)

    async def create(self, container: Container, partition: Partition, body: Body) -> Stored:
        try:
            return await super().create(container, partition, body)
        except DocumentExists:
            if (doing := self.found(body)) is not None:
                await doing
            raise

    async def replace(self, container: Container, partition: Partition, body: Body, etag: str) -> Stored:
        if (doing := self.before(body)) is not None:
            await doing
        return await super().replace(container, partition, body, etag)


@dataclass
class Hub:
    """A task hub in which some orchestrations run, and which may hang."""

    running: Collection[str] = ()
    hangs: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.hangs.set()

    async def is_running(self, instance: str) -> bool:
        return instance in self.running

    async def remove(self, instance: str) -> int | None:
        await self.hangs.wait()
        return 1


@pytest.fixture
async def documents() -> AsyncIterator[Documents]:
    documents = Documents(":memory:")
    yield documents
    await documents.close()


@pytest.fixture
def app(tmp_path: Path, documents: Documents) -> Services:
    (tmp_path / "a.yaml").write_text("name: a\ndescription: d\ninstructions: i\n")
    none = ToolRegistry([])
    return build(Settings(), load_agents(tmp_path, "a", none), none, documents)


async def start(app: Services, id: str) -> Task:
    agent = Agent("a", "i", "m", (), Limits(5, 60))
    return await app.tasks.add(Task(id, "tenant", "ann", "q", None, agent, {}, NOW))


async def test_an_erasure_that_was_cut_short_still_looks_again(app: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    await start(app, "running")
    hub = Hub()
    hub.hangs.clear()
    monkeypatch.setattr(erasures, "SECONDS", 0.05)
    begun = await app.erasures.begin("tenant", "ann", None, "admin")
    cut = await advance(app, hub, begun)
    assert (cut.completed_at, cut.open_tasks) == (None, ("running",))
    assert cut.settles_at
    hub.hangs.set()
    monkeypatch.undo()
    again = await advance(app, hub, cut)
    # Everything there was is gone, but the model that was asked may still answer.
    assert await app.tasks.get("tenant", "running") is None
    assert again.completed_at is None
    assert again.settles_at and again.settles_at >= cut.settles_at


@pytest.mark.parametrize("reason", [Reason.CANCELLED, Reason.TERMINATED, Reason.TIME_LIMIT])
async def test_what_a_task_that_was_cut_short_a_moment_before_may_still_write_is_looked_for(
    app: Services, reason: Reason
) -> None:
    await end(app, await start(app, "stopped"), reason, "Enough.")
    erased = await advance(app, Hub(), await app.erasures.begin("tenant", "ann", None, "admin"))
    assert erased.completed_at is None
    assert "stopped" in erased.open_tasks


async def test_a_task_that_ended_by_itself_writes_nothing_more(app: Services) -> None:
    await end(app, await start(app, "answered"), Reason.ANSWERED, "")
    erased = await advance(app, Hub(), await app.erasures.begin("tenant", "ann", None, "admin"))
    assert (erased.completed_at is None, erased.settles_at) == (False, None)


async def test_what_an_ingestion_that_runs_may_still_write_is_looked_for(app: Services) -> None:
    await app.ingestion.note("tenant", "ann", "ingestion-1")
    hub = Hub(running={"ingestion-1"})
    erased = await advance(app, hub, await app.erasures.begin("tenant", "ann", None, "admin"))
    assert erased.completed_at is None
    assert erased.settles_at
    assert not (await app.documents.page(MEMORIES, ("tenant", "ann"), where={"type": INGESTION})).items


async def test_a_task_that_another_erasure_has_removed_stops_nothing(app: Services, documents: Documents) -> None:
    first, second = await start(app, "a"), await start(app, "b")

    def remove_the_other(body: Body) -> Awaitable[object] | None:
        return app.tasks.remove(second) if body["id"] == first.id else None

    documents.before = remove_the_other
    erased = await advance(app, Hub(), await app.erasures.begin("tenant", "ann", None, "admin"))
    assert erased.open_tasks == ("a", "b")
    assert await app.tasks.get("tenant", "a") is None


async def test_a_conversation_that_is_erased_while_a_task_enters_it_is_begun_anew(
    app: Services, documents: Documents
) -> None:
    ann = Principal("tenant", "ann", frozenset())
    await enter_thread(app, ann, "talk", "first", "queue")
    documents.found = lambda body: documents.delete(THREADS, ("tenant", body["id"]), body["id"])
    await enter_thread(app, ann, "talk", "second", "queue")
    assert (await own_thread(app, ann, "talk")).writer(NOW) == "second"


async def test_two_erasures_at_once_count_each_document_once(app: Services, documents: Documents) -> None:
    place = Place(MEMORIES, ("tenant", "ann"))
    for number in range(150):
        await documents.create(place.container, place.partition, {"id": f"fact-{number:03}", "type": "fact"})
    counts = await asyncio.gather(*(app.user_data.erase(place) for _ in range(3)))
    assert sum(count["fact"] for count in counts) == 150


async def test_an_erasure_that_fails_keeps_no_other_from_being_completed(app: Services, documents: Documents) -> None:
    await start(app, "stuck")
    stuck = await app.erasures.begin("tenant", "ann", None, "admin")
    other = await app.erasures.begin("another", "bob", None, "admin")

    async def fail() -> None:
        raise StoreUnavailable("not this one")

    documents.before = lambda body: fail() if body["id"] in ("stuck", stuck.id) else None
    await advance_all(app, Hub())
    assert [one.id for one in await app.erasures.incomplete()] == [stuck.id]
    done = await app.erasures.get("another", other.id)
    assert done and done.completed_at


async def test_a_step_that_comes_after_the_first_look_is_removed_by_the_second(app: Services) -> None:
    task = await start(app, "late")
    erased = await advance(app, Hub(), await app.erasures.begin("tenant", "ann", None, "admin"))
    ref = StepRef(task.tenant, task.id, 1, None)
    await app.tasks.put_delta(ref, "attempt", "Late words")
    assert erased.settles_at
    assert (await advance(app, Hub(), erased)).removed["delta"] == 1
