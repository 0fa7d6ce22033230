"""Documents in Azure Cosmos DB: the production adapter.

**Nothing twice.** A request whose answer was lost may have been done, by this adapter's repetition or by the SDK's own
in another region. So every document carries a mark, which is never shown:

- A create, upsert or replace notes a number that only this operation has. When the service refuses a create because the
  document exists, or a replace because it changed, the document is read back, and with our mark it is our own write.
- An increment is a patch on the condition that the document has not seen it: each process numbers its increments and
  the document keeps the last number of each. Done before, it is refused, and that is its success. A process sends the
  increments of one document one after another, so that their numbers arrive in order.
- A batch is atomic, so one of its documents tells for all.
- An upsert is repeated as it is. A delete that finds nothing after a lost answer has succeeded.

What stays open: a write whose mark another writer overwrote in the moment before it was read back counts as the
other's, and an increment is not told from its repetition when a replace came between them.

**Changes** are the change feed of the logical partition. It is in the order of the writes and knows nothing of clocks,
so nothing can slip in behind a cursor, which is the number of a write (`_lsn`) and needs no memory. `_ts`, the
alternative, has whole seconds and steps back when another machine takes over: a cursor on it must look back again, and
carry what it has shown. Documents of one batch have one number and come together.

**Requests.** Every operation is one request to one partition; `read` is a point read. A refused create or replace costs
one more, the read back. `page` and `nearest` are one query; only `page` over a prefix of the partition key may touch
several physical partitions.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any
from weakref import WeakValueDictionary

from perdure.documents.containers import Container
from perdure.documents.cosmos_account import CosmosAccount, CosmosSettings, Refused
from perdure.documents.cosmos_containers import MARKS
from perdure.documents.cosmos_counting import OperationNumbers, old_marks
from perdure.documents.cosmos_ids import escape, key
from perdure.documents.cosmos_items import (
    Query,
    document_error,
    marked,
    named,
    new_mark,
    stored_item,
)
from perdure.documents.port import (
    BatchTooLarge,
    Body,
    Change,
    Create,
    Delete,
    DocumentMissing,
    Increment,
    Match,
    Operation,
    Order,
    Page,
    Partition,
    Replace,
    Stored,
    Upsert,
    check_amounts,
    describe,
    encode,
    encode_batch,
)


class CosmosDocuments:
    """The storage port over one Azure Cosmos DB database."""

    def __init__(self, settings: CosmosSettings) -> None:
        self._account = CosmosAccount(settings)
        self._numbers = OperationNumbers()
        self._counting: WeakValueDictionary[tuple[str, Partition, str], asyncio.Lock] = WeakValueDictionary()

    @property
    def requests(self) -> int:
        """HTTP requests answered so far."""
        return self._account.requests

    @property
    def charge(self) -> float:
        """Request units charged so far."""
        return self._account.charge

    async def create(self, container: Container, partition: Partition, body: Body) -> Stored:
        stated = json.loads(encode(container, partition, body))
        what = describe(container, partition, body["id"])
        mark = new_mark()
        document = marked(stated, mark)
        try:
            done = await self._account.do(container, what, lambda items: items.create_item(document, no_response=True))
        except Refused as refused:
            ours = await self._ours(container, partition, body["id"], mark) if refused.status == 409 else None
            if ours is None:
                raise document_error(refused, what) from refused
            return ours
        return Stored(stated, done.get_response_headers()["etag"])

    async def read(self, container: Container, partition: Partition, id: str) -> Stored | None:
        item = await self._read(container, partition, id)
        return None if item is None else stored_item(item)

    async def read_many(self, container: Container, partition: Partition, ids: Sequence[str]) -> list[Stored]:
        query = Query({})
        query.add("ARRAY_CONTAINS({}, c.id)", [key(id) for id in ids])
        rows = await self._query(container, partition, f"SELECT * FROM c{query.where}", query)
        return [stored_item(row) for row in rows]

    async def replace(self, container: Container, partition: Partition, body: Body, etag: str) -> Stored:
        from azure.core import MatchConditions

        stated = json.loads(encode(container, partition, body))
        what = describe(container, partition, body["id"])
        mark = new_mark()
        document = marked(stated, mark)
        try:
            done = await self._account.do(
                container,
                what,
                lambda items: items.replace_item(
                    document["id"], document, etag=etag, match_condition=MatchConditions.IfNotModified, no_response=True
                ),
            )
        except Refused as refused:
            ours = await self._ours(container, partition, body["id"], mark) if refused.status == 412 else None
            if ours is None:
                raise document_error(refused, what) from refused
            return ours
        return Stored(stated, done.get_response_headers()["etag"])

    async def upsert(self, container: Container, partition: Partition, body: Body) -> Stored:
        stated = json.loads(encode(container, partition, body))
        what = describe(container, partition, body["id"])
        document = marked(stated, new_mark())
        try:
            done = await self._account.do(container, what, lambda items: items.upsert_item(document, no_response=True))
        except Refused as refused:
            raise document_error(refused, what) from refused
        return Stored(stated, done.get_response_headers()["etag"])

    async def delete(self, container: Container, partition: Partition, id: str) -> None:
        # As a batch, which is a POST: the transport repeats a DELETE on its own when the connection drops, and does not
        # say so; then "not there" could be our own doing.
        await self.batch(container, partition, [Delete(id)])

    async def increment(
        self, container: Container, partition: Partition, id: str, amounts: Mapping[str, float]
    ) -> Stored:
        check_amounts(amounts)
        what = describe(container, partition, id)
        async with self._lock(container, partition, id):
            number = self._numbers.next()
            try:
                item = await self._account.do(
                    container,
                    what,
                    lambda items: items.patch_item(
                        key(id),
                        list(partition),
                        self._numbers.steps(amounts, number),
                        filter_predicate=self._numbers.not_seen(number),
                    ),
                )
            except Refused as refused:
                if refused.status != 412:
                    raise document_error(refused, what) from refused
                item = await self._read(container, partition, id)
                if item is None:
                    raise DocumentMissing(f"no {what}") from refused
        await self._forget_old_marks(container, partition, item)
        return stored_item(item)

    async def batch(self, container: Container, partition: Partition, operations: Sequence[Operation]) -> None:
        texts = encode_batch(container, partition, operations)
        if not operations:
            return
        mark = new_mark()
        documents = [marked(json.loads(text), mark) if text else {} for text in texts]
        counted = sorted({operation.id for operation in operations if isinstance(operation, Increment)})
        async with AsyncExitStack() as held:
            # Always in the order of the ids, so that no two batches wait for each other.
            for id in counted:
                await held.enter_async_context(self._lock(container, partition, id))
            numbers = [self._numbers.next() for _ in operations]
            try:
                await self._account.do(
                    container,
                    f"a batch in {container.name}/{'/'.join(partition)}",
                    # Made anew for each attempt: the SDK takes the conditions out of what it is given.
                    lambda items: items.execute_item_batch(
                        [
                            self._numbers.in_batch(operation, document, number)
                            for operation, document, number in zip(operations, documents, numbers, strict=True)
                        ],
                        list(partition),
                    ),
                )
            except Refused as refused:
                if refused.status == 413:
                    raise BatchTooLarge(str(refused)) from refused
                if not await self._was_done(container, partition, operations, refused, mark):
                    raise document_error(refused, named(container, partition, operations[refused.index])) from refused

    async def page(
        self,
        container: Container,
        partition: Partition,
        *,
        where: Mapping[str, str] | None = None,
        id_prefix: str = "",
        order: Order = "ascending",
        limit: int = 100,
        continuation: str | None = None,
    ) -> Page:
        query = Query(where or {})
        if id_prefix:
            query.add("STARTSWITH(c.id, {})", escape(id_prefix))
        if continuation is not None:
            query.add("c.id > {}" if order == "ascending" else "c.id < {}", key(continuation))
        direction = "ASC" if order == "ascending" else "DESC"
        text = f"SELECT TOP {query.value(limit + 1)} * FROM c{query.where} ORDER BY c.id {direction}"
        rows = await self._query(container, partition, text, query)
        # Below a prefix of the partition key, each physical partition answers in its own order and up to the limit.
        rows.sort(key=lambda row: row["id"], reverse=order == "descending")
        items = [stored_item(row) for row in rows[:limit]]
        return Page(items, items[-1].body["id"] if len(rows) > limit else None)

    async def changes(self, container: Container, partition: Partition, cursor: str | None, limit: int) -> list[Change]:
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise ValueError(f"{cursor!r} is not a cursor of this store")
        after = str(int(cursor or 0))
        while True:
            # The feed is that of a physical partition, and an answer may have nothing of ours and not be the last.
            rows, after = await self._feed(container, partition, after, limit)
            if rows or after is None:
                return [Change(stored_item(row).body, str(row["_lsn"])) for row in rows]

    async def nearest(
        self,
        container: Container,
        partition: Partition,
        vector: Sequence[float],
        *,
        where: Mapping[str, str] | None = None,
        limit: int,
    ) -> list[Match]:
        query = Query(where or {})
        query.filters.append("IS_DEFINED(c.embedding)")
        near = f"VectorDistance(c.embedding, {query.value(list(vector))})"
        text = f"SELECT TOP {query.value(limit)} c AS body, {near} AS score FROM c{query.where} ORDER BY {near}"
        rows = await self._query(container, partition, text, query)
        matches = [Match(stored_item(row["body"]).body, row["score"]) for row in rows]
        return sorted(matches, key=lambda match: match.score, reverse=True)

    async def close(self) -> None:
        await self._account.close()

    # Reading.

    async def _read(self, container: Container, partition: Partition, id: str) -> Body | None:
        what = describe(container, partition, id)
        try:
            return await self._account.do(container, what, lambda items: items.read_item(key(id), list(partition)))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise document_error(refused, what) from refused

    async def _query(self, container: Container, partition: Partition, text: str, query: Query) -> list[Body]:
        what = f"a query in {container.name}/{'/'.join(partition)}"

        async def rows(items: Any) -> list[Body]:
            found = items.query_items(
                text, parameters=query.parameters, partition_key=list(partition), max_item_count=-1
            )
            return [row async for row in found]

        try:
            return await self._account.do(container, what, rows)
        except Refused as refused:
            raise document_error(refused, what) from refused

    async def _feed(
        self, container: Container, partition: Partition, after: str, limit: int
    ) -> tuple[list[Body], str | None]:
        """One answer of the change feed, and where to go on from; None at its end."""
        what = f"the changes of {container.name}/{'/'.join(partition)}"

        async def answer(items: Any) -> tuple[list[Body], str | None]:
            read_up_to: list[str | None] = []

            def hear(headers: Mapping[str, Any], body: Body | None) -> None:
                # A 304, the end, has no body.
                read_up_to.append(None if body is None else headers["etag"].strip('"'))

            feed = items.query_items_change_feed(
                partition_key=list(partition),
                continuation=f'"{after}"',
                max_item_count=limit,
                response_hook=hear,
            )
            async for page in feed.by_page():
                return [row async for row in page], read_up_to[-1]
            return [], read_up_to[-1]

        try:
            return await self._account.do(container, what, answer)
        except Refused as refused:
            raise document_error(refused, what) from refused

    # Telling our own write from another's.

    async def _ours(self, container: Container, partition: Partition, id: str, mark: str) -> Stored | None:
        item = await self._read(container, partition, id)
        return stored_item(item) if item is not None and item.get(MARKS, {}).get("by") == mark else None

    async def _was_done(
        self, container: Container, partition: Partition, operations: Sequence[Operation], refused: Refused, mark: str
    ) -> bool:
        """Whether a batch is refused because an earlier attempt was done."""
        match operations[refused.index], refused.status:
            case (Create(body), 409) | (Replace(body), 412):
                return await self._ours(container, partition, body["id"], mark) is not None
            case Increment(), 412:
                return True
            case Delete(), 404 if refused.repeated:
                written = next((one for one in operations if isinstance(one, Create | Upsert | Replace)), None)
                if written is not None:
                    return await self._ours(container, partition, written.body["id"], mark) is not None
                deleted = [one.id for one in operations if isinstance(one, Delete)]
                left = [id for id in deleted if await self._read(container, partition, id) is not None]
                return not left
            case _:
                return False

    # Increments.

    def _lock(self, container: Container, partition: Partition, id: str) -> asyncio.Lock:
        return self._counting.setdefault((container.name, partition, id), asyncio.Lock())

    async def _forget_old_marks(self, container: Container, partition: Partition, item: Body) -> None:
        """Keep a document that many processes count in from growing for ever."""
        if not (old := old_marks(item)):
            return
        from azure.core import MatchConditions

        try:
            await self._account.do(
                container,
                describe(container, partition, item["id"]),
                lambda items: items.patch_item(
                    item["id"],
                    list(partition),
                    [{"op": "remove", "path": f"/{MARKS}/{name}"} for name in old],
                    etag=item["_etag"],
                    match_condition=MatchConditions.IfNotModified,
                ),
            )
        except Refused:
            # Somebody else wrote the document; the next increment sees to it.
            return
