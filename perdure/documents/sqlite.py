"""Documents in one SQLite file: the embedded default. `:memory:` is the store that forgets.

One table of JSON bodies with what is searched for beside them, one of vectors. `perdure.documents.sqlite_file` runs the
operations; each is a plain function here, done whole or not at all.
"""

import asyncio
import importlib
import json
import sqlite3
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from perdure.documents.containers import Container
from perdure.documents.port import (
    Body,
    Change,
    Create,
    Delete,
    DocumentChanged,
    DocumentExists,
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
from perdure.documents.sqlite_file import WRITES_NOTHING, SqliteFile, Work

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    container TEXT NOT NULL,
    partition TEXT NOT NULL,
    id TEXT NOT NULL,
    type TEXT,
    body TEXT NOT NULL,
    version INTEGER NOT NULL,
    expires REAL,
    PRIMARY KEY (container, partition, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS documents_by_version ON documents (container, partition, version);
CREATE INDEX IF NOT EXISTS documents_by_type ON documents (container, type, id);
CREATE INDEX IF NOT EXISTS documents_by_expiry ON documents (expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS embeddings (
    container TEXT NOT NULL,
    partition TEXT NOT NULL,
    id TEXT NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (container, partition, id)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS embedding_goes_with_its_document AFTER DELETE ON documents BEGIN
    DELETE FROM embeddings WHERE container = old.container AND partition = old.partition AND id = old.id;
END;
CREATE TABLE IF NOT EXISTS versions (last INTEGER NOT NULL);
INSERT INTO versions SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM versions);
"""

SWEEP_SECONDS = 60.0
"""How often expired documents are removed. They are invisible from the moment they expire."""


class SqliteDocuments:
    """The storage port over one SQLite file.

    Args:
        path: The file, created with its folder when missing, or `:memory:`.
        clock: Seconds since the epoch; documents expire by it.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._swept = 0.0
        self._file = SqliteFile(path, SCHEMA, before_writing=self._sweep)

    async def create(self, container: Container, partition: Partition, body: Body) -> Stored:
        text = encode(container, partition, body)
        return await self._file.do(lambda db: self._insert(db, container, partition, body, text))

    async def read(self, container: Container, partition: Partition, id: str) -> Stored | None:
        return await self._file.do(lambda db: self._read(db, container, partition, id), WRITES_NOTHING)

    async def read_many(self, container: Container, partition: Partition, ids: Sequence[str]) -> list[Stored]:
        found = await self._file.do(lambda db: [self._read(db, container, partition, id) for id in ids], WRITES_NOTHING)
        return [stored for stored in found if stored]

    async def replace(self, container: Container, partition: Partition, body: Body, etag: str) -> Stored:
        text = encode(container, partition, body)
        return await self._file.do(lambda db: self._replace(db, container, partition, body, text, etag))

    async def upsert(self, container: Container, partition: Partition, body: Body) -> Stored:
        text = encode(container, partition, body)
        return await self._file.do(lambda db: self._write(db, container, partition, body, text))

    async def delete(self, container: Container, partition: Partition, id: str) -> None:
        await self._file.do(lambda db: self._delete(db, container, partition, id))

    async def increment(
        self, container: Container, partition: Partition, id: str, amounts: Mapping[str, float]
    ) -> Stored:
        check_amounts(amounts)
        return await self._file.do(lambda db: self._increment(db, container, partition, id, amounts))

    async def batch(self, container: Container, partition: Partition, operations: Sequence[Operation]) -> None:
        texts = encode_batch(container, partition, operations)
        work = [
            self._operation(container, partition, operation, text)
            for operation, text in zip(operations, texts, strict=True)
        ]

        def all_of_them(db: sqlite3.Connection) -> None:
            for do in work:
                do(db)

        await self._file.do(all_of_them)

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
        filters, values = _filters(container, partition, where or {}, self._clock())
        if id_prefix:
            filters.append("substr(id, 1, ?) = ?")
            values.extend((len(id_prefix), id_prefix))
        if continuation is not None:
            filters.append("id > ?" if order == "ascending" else "id < ?")
            values.append(continuation)
        direction = "ASC" if order == "ascending" else "DESC"
        sql = f"SELECT body, version FROM documents WHERE {' AND '.join(filters)} ORDER BY id {direction} LIMIT ?"
        rows = await self._file.do(lambda db: db.execute(sql, (*values, limit + 1)).fetchall(), WRITES_NOTHING)
        items = [_stored(row) for row in rows[:limit]]
        return Page(items, items[-1].body["id"] if len(rows) > limit else None)

    async def changes(self, container: Container, partition: Partition, cursor: str | None, limit: int) -> list[Change]:
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise ValueError(f"{cursor!r} is not a cursor of this store")
        sql = """SELECT body, version FROM documents WHERE container = ? AND partition = ? AND version > ?
                 AND (expires IS NULL OR expires > ?) ORDER BY version LIMIT ?"""
        values = (container.name, _key(partition), int(cursor or 0), self._clock(), limit)
        rows = await self._file.do(lambda db: db.execute(sql, values).fetchall(), WRITES_NOTHING)
        return [Change(json.loads(body), str(version)) for body, version in rows]

    async def nearest(
        self,
        container: Container,
        partition: Partition,
        vector: Sequence[float],
        *,
        where: Mapping[str, str] | None = None,
        limit: int,
    ) -> list[Match]:
        # numpy takes a fifth of a second to import: at the first search, and not in the thread all operations wait for.
        await asyncio.to_thread(importlib.import_module, "numpy")
        filters, values = _filters(container, partition, where or {}, self._clock())
        vectors = f"""SELECT id, vector FROM embeddings JOIN documents USING (container, partition, id)
                      WHERE {" AND ".join(filters)}"""
        bodies = "SELECT body FROM documents WHERE container = ? AND partition = ? AND id = ?"

        def find(db: sqlite3.Connection) -> list[tuple[str, float]]:
            best = _best(db.execute(vectors, values).fetchall(), vector, limit)
            key = (container.name, _key(partition))
            return [(db.execute(bodies, (*key, id)).fetchone()[0], score) for id, score in best]

        return [Match(json.loads(body), score) for body, score in await self._file.do(find, WRITES_NOTHING)]

    async def close(self) -> None:
        await self._file.close()

    def _sweep(self, db: sqlite3.Connection) -> None:
        now = self._clock()
        if now - self._swept >= SWEEP_SECONDS:
            db.execute("DELETE FROM documents WHERE expires <= ?", (now,))
            self._swept = now

    # One operation each, inside the transaction.

    def _operation(self, container: Container, partition: Partition, operation: Operation, text: str) -> Work[Any]:
        match operation:
            case Create(body):
                return lambda db: self._insert(db, container, partition, body, text)
            case Upsert(body):
                return lambda db: self._write(db, container, partition, body, text)
            case Replace(body, etag):
                return lambda db: self._replace(db, container, partition, body, text, etag)
            case Delete(id):
                return lambda db: self._delete(db, container, partition, id)
            case Increment(id, amounts):
                return lambda db: self._increment(db, container, partition, id, amounts)

    def _read(self, db: sqlite3.Connection, container: Container, partition: Partition, id: str) -> Stored | None:
        sql = """SELECT body, version FROM documents WHERE container = ? AND partition = ? AND id = ?
                 AND (expires IS NULL OR expires > ?)"""
        row = db.execute(sql, (container.name, _key(partition), id, self._clock())).fetchone()
        return _stored(row) if row else None

    def _existing(self, db: sqlite3.Connection, container: Container, partition: Partition, id: str) -> Stored:
        stored = self._read(db, container, partition, id)
        if stored is None:
            raise DocumentMissing(f"no {describe(container, partition, id)}")
        return stored

    def _insert(
        self, db: sqlite3.Connection, container: Container, partition: Partition, body: Body, text: str
    ) -> Stored:
        if self._read(db, container, partition, body["id"]):
            raise DocumentExists(f"{describe(container, partition, body['id'])} exists already")
        return self._write(db, container, partition, body, text)

    def _replace(
        self, db: sqlite3.Connection, container: Container, partition: Partition, body: Body, text: str, etag: str
    ) -> Stored:
        if self._existing(db, container, partition, body["id"]).etag != etag:
            raise DocumentChanged(f"{describe(container, partition, body['id'])} was changed by somebody else")
        return self._write(db, container, partition, body, text)

    def _delete(self, db: sqlite3.Connection, container: Container, partition: Partition, id: str) -> None:
        self._existing(db, container, partition, id)
        sql = "DELETE FROM documents WHERE container = ? AND partition = ? AND id = ?"
        db.execute(sql, (container.name, _key(partition), id))

    def _increment(
        self, db: sqlite3.Connection, container: Container, partition: Partition, id: str, amounts: Mapping[str, float]
    ) -> Stored:
        body = self._existing(db, container, partition, id).body
        body |= {name: body.get(name, 0) + amount for name, amount in amounts.items()}
        return self._write(db, container, partition, body, encode(container, partition, body))

    def _write(
        self, db: sqlite3.Connection, container: Container, partition: Partition, body: Body, text: str
    ) -> Stored:
        (version,) = db.execute("UPDATE versions SET last = last + 1 RETURNING last").fetchone()
        expires = self._clock() + body["ttl"] if "ttl" in body else None
        sql = "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)"
        key = (container.name, _key(partition), body["id"])
        db.execute(sql, (*key, body.get("type"), text, version, expires))
        # Replacing a row fires no trigger, so what the old body had is removed here.
        db.execute("DELETE FROM embeddings WHERE container = ? AND partition = ? AND id = ?", key)
        if "embedding" in body:
            db.execute("INSERT INTO embeddings VALUES (?, ?, ?, ?)", (*key, _packed(body["embedding"])))
        return _stored((text, version))


def _key(partition: Partition) -> str:
    return json.dumps(partition, ensure_ascii=False)


def _filters(
    container: Container, partition: Partition, where: Mapping[str, str], now: float
) -> tuple[list[str], list[Any]]:
    filters = ["container = ?", "(expires IS NULL OR expires > ?)"]
    values: list[Any] = [container.name, now]
    if len(partition) == len(container.partition_key):
        filters.append("partition = ?")
        values.append(_key(partition))
    else:
        prefix = _key(partition)[:-1] + ", "
        filters.append("substr(partition, 1, ?) = ?")
        values.extend((len(prefix), prefix))
    for name, value in where.items():
        if name == "type":
            filters.append("type = ?")
            values.append(value)
        else:
            filters.append("json_extract(body, ?) = ?")
            values.extend((f'$."{name}"', value))
    return filters, values


def _stored(row: tuple[str, int]) -> Stored:
    return Stored(json.loads(row[0]), str(row[1]))


def _packed(vector: Sequence[float]) -> bytes:
    """A vector as 32-bit floats, which a search reads by the thousand; the body keeps its numbers as they were."""
    return array("f", vector).tobytes()


def _best(rows: Sequence[tuple[str, bytes]], vector: Sequence[float], limit: int) -> list[tuple[str, float]]:
    """The ids nearest to a vector, with their cosine similarity, best first; equal ones in the order of their ids."""
    import numpy

    if not rows:
        return []
    sizes = {len(packed) for _, packed in rows}
    wanted = numpy.asarray(vector, numpy.float32)
    if sizes != {wanted.nbytes}:
        stored = ", ".join(str(size // wanted.itemsize) for size in sorted(sizes))
        raise ValueError(f"a vector of {len(vector)} dimensions cannot be compared with stored ones of {stored}")
    matrix = numpy.frombuffer(b"".join(packed for _, packed in rows), numpy.float32).reshape(len(rows), len(vector))
    lengths = numpy.linalg.norm(matrix, axis=1) * numpy.linalg.norm(wanted)
    scores = numpy.divide(matrix @ wanted, lengths, out=numpy.zeros(len(rows), numpy.float32), where=lengths > 0)
    order = numpy.argsort(-scores, kind="stable")[:limit]
    return [(rows[int(at)][0], float(scores[at])) for at in order]
