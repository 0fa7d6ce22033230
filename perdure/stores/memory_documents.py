"""How loaded documents lie in the memories container, one partition a user.

    <document id>                           the document itself; written last, and what makes its passages findable
    <document id>-<ingestion>-00003         its passage 3, with heading path, offsets and embedding

While it is ingested, and a week at most, also:

    load-<document id>-<ingestion>          title and counts
    raw-<document id>-<ingestion>-003       piece 3 of its text
    batch-<document id>-<ingestion>-00003   its batch 3 of passages that are to be embedded
    ingestion-<...>                         that the orchestration of this id was started

The document id is a hash of title and text. Two ingestions of the same document share nothing on their way: the one
that publishes it first names itself in the document, and only its passages count.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from perdure.documents.port import Body
from perdure.domain.chunks import Chunk
from perdure.domain.ingestion import DocumentRef

DOCUMENT = "document"
REMOVED = "removed"
"""A document whose passages are being deleted: nobody finds it any more, and it goes last."""
CHUNK = "chunk"
LOAD, RAW, BATCH = "load", "raw", "batch"
INGESTION = "ingestion"
"""That an orchestration was started, by its id: nothing else tells which are a user's."""

STAGED_SECONDS = 7 * 24 * 3600
"""What an ingestion leaves behind when it is cut short for good is gone after a week."""

_DOCUMENT_ID = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    """A document a user loaded.

    Attributes:
        ingestion: The ingestion that published it, whose passages are the document's.
        passages: How many it was cut into.
    """

    id: str
    ingestion: str
    title: str
    passages: int
    created_at: datetime


def document_id(title: str, text: str) -> str:
    return hashlib.sha256(f"{title}\0{text}".encode()).hexdigest()[:24]


def is_document_id(text: str) -> bool:
    return _DOCUMENT_ID.fullmatch(text) is not None


def chunk_prefix(document: str, ingestion: str = "") -> str:
    """How ids of a document's passages begin: those of one ingestion, or of any."""
    return f"{_of(document, ingestion)}-" if ingestion else f"{document}-"


def load_id(document: str, ingestion: str) -> str:
    return f"load-{_of(document, ingestion)}"


def raw_id(document: str, ingestion: str, number: int) -> str:
    return f"raw-{_of(document, ingestion)}-{number:03}"


def batch_id(document: str, ingestion: str, number: int) -> str:
    return f"batch-{_of(document, ingestion)}-{number:05}"


def staged_prefixes(document: str, ingestion: str) -> tuple[str, ...]:
    """How ids of what an ingestion stages begin, but for the load."""
    return f"raw-{_of(document, ingestion)}-", f"batch-{_of(document, ingestion)}-"


def _of(document: str, ingestion: str) -> str:
    # 48 bits tell the ingestions of one document of one user apart.
    return f"{document}-{hashlib.sha256(ingestion.encode()).hexdigest()[:12]}"


def from_loaded(document: LoadedDocument) -> Body:
    return {
        "id": document.id,
        "type": DOCUMENT,
        "ingestion": document.ingestion,
        "title": document.title,
        "passages": document.passages,
        "created_at": document.created_at.isoformat(),
    }


def to_loaded(body: Body) -> LoadedDocument:
    created_at = datetime.fromisoformat(body["created_at"])
    return LoadedDocument(body["id"], body["ingestion"], body["title"], body["passages"], created_at)


def from_chunk(ref: DocumentRef, title: str, number: int, chunk: Chunk) -> Body:
    """A passage without its embedding."""
    return {
        "id": f"{chunk_prefix(ref.document, ref.ingestion)}{number:05}",
        "type": CHUNK,
        "document_id": ref.document,
        "ingestion": ref.ingestion,
        "document": title,
        "heading": chunk.heading,
        "text": chunk.text,
        "start": chunk.start,
        "end": chunk.end,
    }


def embedded_text(chunk: Body) -> str:
    """What of a passage is embedded: a passage often leaves out what its headings say."""
    return f"{chunk['document']} {chunk['heading']} {chunk['text']}"
