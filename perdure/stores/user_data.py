"""Where everything lies that is kept of a user: one list of places, for the export and for the erasure."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from perdure.documents.containers import CONTROLS, MEMORIES, OUTBOX, TASKS, THREADS, Container
from perdure.documents.port import Body, Delete, DocumentMissing, Documents, Partition
from perdure.domain.task import Task
from perdure.domain.thread import thread_key
from perdure.stores import keys, memory_documents, starts, task_documents, threads, tool_cache, usage
from perdure.stores.facts import FACT

PAGE = 100
SECRET = frozenset({"embedding", "hash", "salt"})
"""Properties that an export leaves out: what only machines read, and what is not to be known."""


@dataclass(frozen=True, slots=True)
class Place:
    """Documents of a partition, or those of them that have some properties."""

    container: Container
    partition: Partition
    where: Mapping[str, str] = field(default_factory=dict[str, str])


class UserData:
    """What is kept of users."""

    def __init__(self, store: Documents) -> None:
        self._store = store

    async def tasks(self, tenant: str, user: str, thread: str | None = None) -> list[Task]:
        """All tasks of a user, or those of one conversation."""
        where = {"type": task_documents.TASK, "user": user} | ({"thread": thread} if thread else {})
        found = self._documents(Place(TASKS, (tenant,), where))
        return [task_documents.to_task(body) async for body in found]

    async def has_thread(self, tenant: str, user: str, thread: str) -> bool:
        """Whether anything is kept of a conversation."""
        key = thread_key(user, thread)
        if await self._store.read(THREADS, (tenant, key), key):
            return True
        return bool(await self.tasks(tenant, user, thread))

    async def ingestions(self, tenant: str, user: str) -> list[str]:
        """Ids of the ingestions a user started, as far back as durable history reaches."""
        where = {"type": memory_documents.INGESTION}
        return [body["id"] async for body in self._documents(Place(MEMORIES, (tenant, user), where))]

    async def places(self, tenant: str, user: str, tasks: Iterable[str]) -> list[Place]:
        """Where a user's data lies, the given tasks included."""
        own = Place(THREADS, (tenant,), {"type": threads.THREAD, "user": user})
        conversations = [body["id"] async for body in self._documents(own)]
        return [
            *(Place(TASKS, (tenant, task)) for task in tasks),
            *(Place(THREADS, (tenant, thread)) for thread in conversations),
            Place(MEMORIES, (tenant, user)),
            Place(OUTBOX, (tenant, user)),
            Place(CONTROLS, (tenant, starts.KIND), {"user": user}),
            Place(CONTROLS, (tenant, usage.KIND), {"user": user}),
            Place(CONTROLS, keys.PARTITION, {"tenant": tenant, "user": user}),
        ]

    def places_of_thread(self, tenant: str, user: str, thread: str, tasks: Iterable[str]) -> list[Place]:
        """Where the data of one conversation lies: also what its tasks remembered and wanted to send."""
        places = [Place(THREADS, (tenant, thread_key(user, thread)))]
        for task in tasks:
            places += [Place(TASKS, (tenant, task)), Place(MEMORIES, (tenant, user), {"type": FACT, "task": task})]
            places.append(Place(OUTBOX, (tenant, user), {"task": task}))
        return places

    def places_of_nobody(self, tenant: str) -> list[Place]:
        """Where a tenant's data lies that may be anybody's: results of tools, whoever asked."""
        return [Place(CONTROLS, (tenant, tool_cache.KIND))]

    async def export(self, place: Place) -> AsyncIterator[Body]:
        """Read the documents of a place as their user may see them."""
        async for body in self._documents(place):
            yield {name: value for name, value in body.items() if name not in SECRET}

    async def erase(self, place: Place) -> Counter[str]:
        """Delete the documents of a place; returns how many of each type."""
        erased = Counter[str]()
        while True:
            page = await self._store.page(place.container, place.partition, where=place.where, limit=PAGE)
            if not page.items:
                return erased
            try:
                await self._store.batch(
                    place.container, place.partition, [Delete(stored.body["id"]) for stored in page.items]
                )
            except DocumentMissing:
                # Somebody else deletes them too, or one has just expired: one by one, then.
                for stored in page.items:
                    with suppress(DocumentMissing):
                        await self._store.delete(place.container, place.partition, stored.body["id"])
                        erased[stored.body["type"]] += 1
            else:
                erased.update(stored.body["type"] for stored in page.items)

    async def _documents(self, place: Place) -> AsyncIterator[Body]:
        continuation = None
        while True:
            page = await self._store.page(
                place.container, place.partition, where=place.where, limit=PAGE, continuation=continuation
            )
            for stored in page.items:
                yield stored.body
            if (continuation := page.continuation) is None:
                return
