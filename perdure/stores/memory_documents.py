"""How loaded documents lie in the memories container, one partition a user.

    <document id>               the document itself; written last, and what makes its passages findable
    <document id>-00003         its passage 3, with heading path, offsets and embedding

While it is ingested, and a week at most, also:

    load-<document id>          title and counts
    raw-<document id>-003       piece 3 of its text
    batch-<document id>-00003   its batch 3 of passages that are to be embedded

The document id is a hash of title and text, so the same document again writes the same things in the same places.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from perdure.documents.port import Body
from perdure.domain.chunks import Chunk

DOCUMENT = "document"
REMOVED = "removed"
"""A document whose passages are being deleted: nobody finds it any more, and it goes last."""
CHUNK = "chunk"
LOAD, RAW, BATCH = "load", "raw", "batch"

STAGED_SECONDS = 7 * 24 * 3600
"""What an ingestion leaves behind when it is cut short for good is gone after a week."""

_DOCUMENT_ID = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    """A document a user loaded; `passages` is how many it was cut into."""

    id: str
    title: str
    passages: int
    created_at: datetime


def document_id(title: str, text: str) -> str:
    return hashlib.sha256(f"{title}\0{text}".encode()).hexdigest()[:24]


def is_document_id(text: str) -> bool:
    return _DOCUMENT_ID.fullmatch(text) is not None


def chunk_prefix(document: str) -> str:
    return f"{document}-"


def load_id(document: str) -> str:
    return f"load-{document}"


def raw_id(document: str, number: int) -> str:
    return f"raw-{document}-{number:03}"


def batch_id(document: str, number: int) -> str:
    return f"batch-{document}-{number:05}"


def from_loaded(document: LoadedDocument) -> Body:
    return {
        "id": document.id,
        "type": DOCUMENT,
        "title": document.title,
        "passages": document.passages,
        "created_at": document.created_at.isoformat(),
    }


def to_loaded(body: Body) -> LoadedDocument:
    return LoadedDocument(body["id"], body["title"], body["passages"], datetime.fromisoformat(body["created_at"]))


def from_chunk(document: str, title: str, number: int, chunk: Chunk) -> Body:
    """A passage without its embedding."""
    return {
        "id": f"{chunk_prefix(document)}{number:05}",
        "type": CHUNK,
        "document_id": document,
        "document": title,
        "heading": chunk.heading,
        "text": chunk.text,
        "start": chunk.start,
        "end": chunk.end,
    }


def embedded_text(chunk: Body) -> str:
    """What of a passage is embedded: a passage often leaves out what its headings say."""
    return f"{chunk['document']} {chunk['heading']} {chunk['text']}"
