"""The activities of an ingestion: split a document, embed a batch of its passages, publish it or discard it.

Each can run again at any time: what it writes has deterministic ids.
"""

from collections.abc import Awaitable
from typing import Any

import azure.durable_functions as df

from perdure.bootstrap import services
from perdure.domain.ingestion import BatchRef, DocumentRef, Outcome
from perdure.domain.names import DISCARD_DOCUMENT, EMBED_CHUNKS, PUBLISH_DOCUMENT, SPLIT_DOCUMENT
from perdure.models.port import ModelRejected
from perdure.stores.embedding_space import EmbeddingsMismatch
from perdure.stores.ingestion import IngestionFailed

DETAIL = 300
"""Most characters of an error that enter durable history."""

bp = df.Blueprint()


@bp.activity_trigger(input_name="ref", activity=SPLIT_DOCUMENT)
async def split_document(ref: dict) -> dict[str, Any]:
    return await _outcome(services().ingestion.split(DocumentRef.from_dict(ref)))


@bp.activity_trigger(input_name="ref", activity=EMBED_CHUNKS)
async def embed_chunks(ref: dict) -> dict[str, Any]:
    return await _outcome(services().ingestion.embed(BatchRef.from_dict(ref)))


@bp.activity_trigger(input_name="ref", activity=PUBLISH_DOCUMENT)
async def publish_document(ref: dict) -> dict[str, Any]:
    return await _outcome(services().ingestion.publish(DocumentRef.from_dict(ref)))


@bp.activity_trigger(input_name="ref", activity=DISCARD_DOCUMENT)
async def discard_document(ref: dict) -> dict[str, Any]:
    return await _outcome(services().ingestion.discard(DocumentRef.from_dict(ref)))


async def _outcome(work: Awaitable[int]) -> dict[str, Any]:
    """Report what no further attempt would change; everything else is raised and tried again."""
    try:
        return Outcome(await work).to_dict()
    except (IngestionFailed, ModelRejected, EmbeddingsMismatch) as error:
        return Outcome(error=str(error)[:DETAIL]).to_dict()
