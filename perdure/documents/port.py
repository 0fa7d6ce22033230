"""The storage port: what every adapter does, and how an operation may fail.

A document is a JSON object with an `id`, unique within its partition. The properties of the partition key are set by
the adapter. A `ttl` property, a whole number above 0, makes it expire that many seconds after its last write; `type` is
indexed. Names that begin with an underscore are the database's own.

    DocumentError
    ├── DocumentExists        create, and the id is taken
    ├── DocumentMissing       replace, increment or delete of what is not there
    ├── DocumentChanged       the ETag given is no longer the stored one
    ├── DocumentTooLarge      over MAX_DOCUMENT_BYTES, or its id over MAX_ID_BYTES
    ├── BatchTooLarge         over MAX_BATCH operations or MAX_BATCH_BYTES
    └── StoreUnavailable      a passing fault; the same operation may succeed later
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from perdure.documents.containers import Container

type Body = dict[str, Any]
type Partition = tuple[str, ...]
type Order = Literal["ascending", "descending"]

MAX_DOCUMENT_BYTES = 2 * 1024 * 1024 - 4096
"""Size of a document as compact JSON in UTF-8. Azure Cosmos DB's limit for an item is 2 MB, its own properties
included; the rest is for those and for the adapter's."""

MAX_ID_BYTES = 341
"""Size of an id in UTF-8. Azure Cosmos DB's limit is 1,023 bytes, and a byte that it forbids is written as three."""

MAX_BATCH = 100
"""Operations in one atomic batch. Azure Cosmos DB's limit for a transactional batch."""

MAX_BATCH_BYTES = MAX_DOCUMENT_BYTES - 32 * 1024
"""Size of all documents of one batch together. Azure Cosmos DB's limit for the request is 2 MB; the rest is for what a
hundred operations need besides their documents."""

MAX_AMOUNTS = 9
"""Numbers that one increment adds to. Azure Cosmos DB's limit for a patch is 10 steps; one is the adapter's."""


class DocumentError(Exception):
    """A storage operation did not happen, or, when the store is unavailable, is not known to have happened."""


class DocumentExists(DocumentError):
    """The id is taken."""


class DocumentMissing(DocumentError):
    """There is no such document."""


class DocumentChanged(DocumentError):
    """Somebody else changed the document since it was read."""


class DocumentTooLarge(DocumentError):
    """The document is over MAX_DOCUMENT_BYTES, or its id over MAX_ID_BYTES."""


class BatchTooLarge(DocumentError):
    """The batch has over MAX_BATCH operations or MAX_BATCH_BYTES."""


class StoreUnavailable(DocumentError):
    """The store did not answer."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as stored; `etag` changes with every write."""

    body: Body
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some documents of a listing; `continuation` asks for the next ones and is None on the last page."""

    items: list[Stored]
    continuation: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """A document in its latest version; `cursor` asks for what was written after it."""

    body: Body
    cursor: str


@dataclass(frozen=True, slots=True)
class Match:
    """A document near a vector; `score` is the cosine similarity, from -1 to 1."""

    body: Body
    score: float


@dataclass(frozen=True, slots=True)
class Create:
    body: Body


@dataclass(frozen=True, slots=True)
class Upsert:
    body: Body


@dataclass(frozen=True, slots=True)
class Replace:
    body: Body
    etag: str


@dataclass(frozen=True, slots=True)
class Delete:
    id: str


@dataclass(frozen=True, slots=True)
class Increment:
    id: str
    amounts: Mapping[str, float] = field(default_factory=dict[str, float])


type Operation = Create | Upsert | Replace | Delete | Increment


class Documents(Protocol):
    """A document store. Every method may raise StoreUnavailable; the others are named where they apply."""

    async def create(self, container: Container, partition: Partition, body: Body) -> Stored:
        """Add a document. Raises DocumentExists, DocumentTooLarge."""
        ...

    async def read(self, container: Container, partition: Partition, id: str) -> Stored | None:
        """Read one document; None when there is none or it has expired."""
        ...

    async def read_many(self, container: Container, partition: Partition, ids: Sequence[str]) -> list[Stored]:
        """Read several documents of one partition at once, in no particular order; what is not there is left out."""
        ...

    async def replace(self, container: Container, partition: Partition, body: Body, etag: str) -> Stored:
        """Put a new body in place of the version with this ETag. Raises DocumentMissing, DocumentChanged."""
        ...

    async def upsert(self, container: Container, partition: Partition, body: Body) -> Stored:
        """Add a document or put it in place of the one with its id. Raises DocumentTooLarge."""
        ...

    async def delete(self, container: Container, partition: Partition, id: str) -> None:
        """Remove a document. Raises DocumentMissing."""
        ...

    async def increment(
        self, container: Container, partition: Partition, id: str, amounts: Mapping[str, float]
    ) -> Stored:
        """Add to top-level numbers atomically; an absent one counts as 0.

        Raises:
            DocumentMissing: There is no such document.
            ValueError: Over MAX_AMOUNTS numbers.
        """
        ...

    async def batch(self, container: Container, partition: Partition, operations: Sequence[Operation]) -> None:
        """Do all operations or none, within one partition. Raises what the first failing operation would raise on
        its own, and BatchTooLarge."""
        ...

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
        """List documents by id, one page at a time.

        Args:
            partition: Values of the partition key, or only its first ones: then documents of every partition below
                them are listed together, and the ids of what is listed must be unique among them.
            where: Top-level string properties that must be equal.
        """
        ...

    async def changes(self, container: Container, partition: Partition, cursor: str | None, limit: int) -> list[Change]:
        """Read documents of one partition that were written after the cursor, oldest write first; from the first when
        it is None.

        A document changed several times may be seen once, in its latest version. Deletions are not seen. No change is
        missed; one may be seen again. Documents written by one batch may come together, over the limit.
        Raises ValueError when the cursor is not one of ours.
        """
        ...

    async def nearest(
        self,
        container: Container,
        partition: Partition,
        vector: Sequence[float],
        *,
        where: Mapping[str, str] | None = None,
        limit: int,
    ) -> list[Match]:
        """Rank documents of one partition by the cosine similarity of their `embedding` to a vector, best first."""
        ...

    async def close(self) -> None:
        """Release files and connections. The store is not used afterwards."""
        ...


def encode(container: Container, partition: Partition, body: Body) -> str:
    """Write a body as compact JSON with the partition key's properties set.

    Raises:
        DocumentTooLarge: Over MAX_DOCUMENT_BYTES, or the id over MAX_ID_BYTES.
        ValueError: A `ttl` or a name that no adapter takes, or what is not JSON: a NaN, half a surrogate pair.
    """
    where = describe(container, partition, body["id"])
    if (size := len(body["id"].encode())) > MAX_ID_BYTES:
        raise DocumentTooLarge(f"the id of {where[:200]}... has {size:,} bytes; an id may have {MAX_ID_BYTES}")
    ttl = body.get("ttl", 1)
    if not isinstance(ttl, int) or ttl < 1:
        raise ValueError(f"the ttl of {where} is {ttl!r}; it must be a whole number above 0")
    if reserved := [name for name in body if name.startswith("_")]:
        raise ValueError(f"{where} has {reserved[0]!r}; names that begin with an underscore are the database's own")
    keyed = {**body, **dict(zip(container.partition_key, partition, strict=True))}
    text = json.dumps(keyed, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if (size := len(text.encode())) > MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(f"{where} has {size:,} bytes; a document may have {MAX_DOCUMENT_BYTES:,}")
    return text


def in_batches[T: Operation](operations: Iterable[T], room: int = MAX_BATCH) -> Iterator[list[T]]:
    """Cut operations into batches of at most `room`, each small enough to be done; the same ones are always cut alike.

    A quarter of MAX_BATCH_BYTES is left for operations that the caller adds to each batch.
    """
    batch: list[T] = []
    size = 0
    for operation in operations:
        body = getattr(operation, "body", None)
        weight = len(json.dumps(body, ensure_ascii=False).encode()) if body else 0
        if batch and (len(batch) >= room or size + weight > MAX_BATCH_BYTES * 3 // 4):
            yield batch
            batch, size = [], 0
        batch.append(operation)
        size += weight
    if batch:
        yield batch


def delete_unchanged(stored: Stored) -> list[Operation]:
    """What of a batch removes a document, or fails the batch with DocumentChanged when it is not as it was read."""
    return [Replace(stored.body, stored.etag), Delete(stored.body["id"])]


def encode_batch(container: Container, partition: Partition, operations: Sequence[Operation]) -> list[str]:
    """Write the body of each operation; empty for one without.

    Raises:
        BatchTooLarge: More than any adapter does atomically.
        DocumentTooLarge, ValueError: As `encode`.
    """
    if len(operations) > MAX_BATCH:
        raise BatchTooLarge(f"a batch has {len(operations)} operations; it may have {MAX_BATCH}")
    texts: list[str] = []
    for operation in operations:
        match operation:
            case Create(body) | Upsert(body) | Replace(body):
                texts.append(encode(container, partition, body))
            case Increment(_, amounts):
                check_amounts(amounts)
                texts.append("")
            case Delete():
                texts.append("")
    if (size := sum(len(text.encode()) for text in texts)) > MAX_BATCH_BYTES and len(texts) > 1:
        raise BatchTooLarge(f"a batch has {size:,} bytes; it may have {MAX_BATCH_BYTES:,}")
    return texts


def check_amounts(amounts: Mapping[str, float]) -> None:
    """Raise ValueError for more numbers than any adapter adds to at once."""
    if len(amounts) > MAX_AMOUNTS:
        raise ValueError(f"an increment adds to {len(amounts)} numbers; it may add to {MAX_AMOUNTS}")


def describe(container: Container, partition: Partition, id: str) -> str:
    """Name a document for an error message."""
    return f"document {id!r} in {container.name}/{'/'.join(partition)}"
