"""Documents in requests and responses."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    StringConstraints,
    Tag,
)
from pydantic_core import PydanticCustomError

from perdure.api.schemas.numbers import WHOLE
from perdure.api.schemas.tasks import ManagementUrls
from perdure.stores.memory_documents import LoadedDocument
from perdure.tools.tool import Passage

MAX_TEXT_BYTES = 5 * 1024 * 1024
"""Largest document, in UTF-8."""

MAX_DOCUMENTS = 100
"""Most documents of one request."""


def _fits(text: str) -> str:
    if (size := len(text.encode())) > MAX_TEXT_BYTES:
        raise PydanticCustomError(
            "text_too_long",
            "has {size} bytes in UTF-8; a document may have {limit}. Split it.",
            {"size": size, "limit": MAX_TEXT_BYTES},
        )
    return text


type Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"\S")]
type DocumentText = Annotated[str, StringConstraints(min_length=1, pattern=r"\S"), AfterValidator(_fits)]


class DocumentRequest(BaseModel):
    """A document to be searched by the caller's agents, as text or Markdown of at most 5 MB."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    text: DocumentText


class DocumentBatch(BaseModel):
    """Up to 100 documents."""

    model_config = ConfigDict(extra="forbid")

    documents: Annotated[list[DocumentRequest], Field(min_length=1, max_length=MAX_DOCUMENTS)]


def _shape(body: object) -> str:
    return "documents" if isinstance(body, dict) and "documents" in body else "document"


type _OneOrSeveral = Annotated[
    Annotated[DocumentRequest, Tag("document")] | Annotated[DocumentBatch, Tag("documents")], Discriminator(_shape)
]


class LoadRequest(RootModel[_OneOrSeveral]):
    """One document, or a batch of them in `documents`."""

    @property
    def all(self) -> list[DocumentRequest]:
        """The documents, whichever way they were given."""
        return self.root.documents if isinstance(self.root, DocumentBatch) else [self.root]


class SearchRequest(BaseModel):
    """A search in the caller's documents."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"\S")]
    limit: Annotated[int, Field(ge=1, le=50, strict=True), WHOLE] = 5


class DocumentListQuery(BaseModel):
    """Which of the caller's documents are listed.

    Attributes:
        limit: How many at most.
        continuation: What the page before gave, to read on from there.
    """

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    continuation: str | None = None


class DocumentView(BaseModel):
    """A loaded document; `passages` is how many it was cut into."""

    id: str
    title: str
    passages: int
    created_at: datetime

    @classmethod
    def of(cls, document: LoadedDocument) -> "DocumentView":
        return cls(**{name: getattr(document, name) for name in cls.model_fields})


class DocumentPageView(BaseModel):
    """Some of the caller's documents by id. `continuation` asks for the next ones; null when there are none."""

    documents: list[DocumentView]
    continuation: str | None


class DocumentName(BaseModel):
    """A document that is being loaded."""

    id: str
    title: str


class StartedIngestion(ManagementUrls):
    """Documents that were taken on; the status URL tells how far they are."""

    ingestion_id: str
    status: Literal["processing"]
    documents: list[DocumentName]


class LoadedDocuments(BaseModel):
    """Documents that were there already."""

    ingestion_id: str
    status: Literal["completed"]
    documents: list[DocumentView]


class PassageView(BaseModel):
    """A passage that answers a search; `start` and `end` are offsets in the document, `score` is higher when nearer."""

    document: str
    heading: str
    text: str
    start: int
    end: int
    score: float
    document_id: str

    @classmethod
    def of(cls, passage: Passage) -> "PassageView":
        return cls(**asdict(passage))


class FoundPassages(BaseModel):
    """What a search found, best first."""

    passages: list[PassageView]
