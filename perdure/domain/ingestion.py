"""An ingestion: some documents on their way to being searchable, as it crosses the durable boundary.

It carries ids and counts. Texts, passages and vectors stay in the store.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self, cast

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """One document of one user on its way into memory, by one ingestion of perhaps several."""

    tenant: str
    user: str
    document: str
    ingestion: str

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        return cls(**data)

    def to_dict(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class BatchRef:
    """One batch of passages of a document, to be embedded together. Batches count from 0."""

    tenant: str
    user: str
    document: str
    ingestion: str
    batch: int

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        return cls(**data)

    def to_dict(self) -> Json:
        return asdict(self)

    @property
    def document_ref(self) -> DocumentRef:
        return DocumentRef(self.tenant, self.user, self.document, self.ingestion)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an activity came to.

    Attributes:
        count: What it counted: batches of a document that was split, passages of one that was published.
        error: One sentence for the caller when the document cannot be ingested, however often it is tried.
    """

    count: int = 0
    error: str | None = None

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        return cls(**data)

    def to_dict(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Ingestion:
    """Where an ingestion stands: its input, and what it hands to itself when it continues as new.

    Attributes:
        id: No other ingestion has it, so what is laid down on the way is this one's, whoever else ingests the document.
        documents: Ids of the documents.
        batches: For each document, how many batches it was split into; empty before all were split.
        embedded: How many batches, of all documents together, have been dealt with.
        failures: Why a document cannot be ingested, by its id.
    """

    id: str
    tenant: str
    user: str
    documents: tuple[str, ...]
    batches: tuple[int, ...] = ()
    embedded: int = 0
    failures: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        fields = {**data, "documents": tuple(data["documents"]), "batches": tuple(data["batches"])}
        return cls(**cast("Json", fields))

    def to_dict(self) -> Json:
        return asdict(self)

    def ref(self, document: str) -> DocumentRef:
        return DocumentRef(self.tenant, self.user, document, self.id)

    @property
    def batch_refs(self) -> list[BatchRef]:
        """Every batch of every document, in order."""
        counts = zip(self.documents, self.batches, strict=True)
        return [
            BatchRef(self.tenant, self.user, document, self.id, n) for document, count in counts for n in range(count)
        ]

    @property
    def sound(self) -> tuple[str, ...]:
        """Documents that nothing keeps from being published."""
        return tuple(document for document in self.documents if document not in self.failures)

    def failed(self, documents: Sequence[str], outcomes: Sequence[Outcome]) -> Self:
        """Note what went wrong with which document; the first reason stands."""
        news = {id: outcome.error for id, outcome in zip(documents, outcomes, strict=True) if outcome.error}
        return replace(self, failures=self.failures | {id: why for id, why in news.items() if id not in self.failures})
