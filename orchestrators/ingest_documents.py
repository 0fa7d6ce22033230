"""Documents from raw text to searchable passages.

1. Split every document into batches of passages.
2. Embed the batches, WIDTH at a time.
3. Publish each document whose passages are all there; only then does a search find them. Discard the others.

A document that fails keeps none of the others from being published.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
from durabletask import task as durable

from perdure.domain.ingestion import BatchRef, DocumentRef, Ingestion, Outcome
from perdure.domain.names import DISCARD_DOCUMENT, EMBED_CHUNKS, INGEST_DOCUMENTS, PUBLISH_DOCUMENT, SPLIT_DOCUMENT

WIDTH = 8
"""Activities of one ingestion that run side by side: enough to hide an embedding endpoint's latency, few enough to
leave its rate limit and the app's workers to others."""

GENERATION = 25
"""Rounds of embedding before an ingestion continues as new. An activity adds about 1 KB of history."""

RETRY = df.RetryPolicy(
    first_retry_interval=timedelta(seconds=1),
    max_number_of_attempts=8,
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(seconds=30),
)
"""For a store or an embedding endpoint that does not answer or is rate limited: about a minute and a half."""

GAVE_UP = "The store or the embedding model failed repeatedly; the log says why. Post the document again."

type Orchestration[T] = Generator[durable.Task[Any], Any, T]


def ingest_documents(ctx: durable.OrchestrationContext, input: dict) -> Orchestration[dict[str, Any] | None]:
    ingestion = Ingestion.from_dict(input)
    documents = ingestion.documents
    if not ingestion.batches:
        outcomes = yield from _all(ctx, "splitting", SPLIT_DOCUMENT, [ingestion.ref(one) for one in documents])
        batches = tuple(outcome.count for outcome in outcomes)
        ingestion = replace(ingestion.failed(documents, outcomes), batches=batches)

    work = ingestion.batch_refs
    last = ingestion.embedded + GENERATION * WIDTH
    while ingestion.embedded < len(work):
        if ingestion.embedded >= last:
            ctx.continue_as_new(ingestion.to_dict())
            return None
        ctx.set_custom_status(f"embedding {ingestion.embedded}/{len(work)}")
        batch = work[ingestion.embedded : ingestion.embedded + WIDTH]
        wanted = [ref for ref in batch if ref.document not in ingestion.failures]
        outcomes = yield from _round(ctx, EMBED_CHUNKS, wanted)
        ingestion = ingestion.failed([ref.document for ref in wanted], outcomes)
        ingestion = replace(ingestion, embedded=ingestion.embedded + len(batch))

    sound = ingestion.sound
    published = yield from _all(ctx, "publishing", PUBLISH_DOCUMENT, [ingestion.ref(one) for one in sound])
    ingestion = ingestion.failed(sound, published)
    # What cannot be discarded either expires or is written over when the document is posted again.
    yield from _all(ctx, "discarding", DISCARD_DOCUMENT, [ingestion.ref(one) for one in ingestion.failures])
    ctx.set_custom_status(f"published {len(ingestion.sound)}/{len(documents)}")
    passages = {id: outcome.count for id, outcome in zip(sound, published, strict=True)}
    return {
        "status": "failed" if ingestion.failures else "completed",
        "documents": [{"id": one, "passages": passages[one]} for one in ingestion.sound],
        "failures": [{"id": one, "detail": detail} for one, detail in ingestion.failures.items()],
    }


def _all(
    ctx: durable.OrchestrationContext, doing: str, activity: str, refs: Sequence[DocumentRef]
) -> Orchestration[list[Outcome]]:
    """Run an activity for every document, WIDTH at a time, and show how far it is."""
    outcomes: list[Outcome] = []
    for at in range(0, len(refs), WIDTH):
        ctx.set_custom_status(f"{doing} {at}/{len(refs)}")
        outcomes += yield from _round(ctx, activity, refs[at : at + WIDTH])
    return outcomes


def _round(
    ctx: durable.OrchestrationContext, activity: str, refs: Sequence[DocumentRef | BatchRef]
) -> Orchestration[list[Outcome]]:
    """Run an activity side by side for some references and wait for all of them, whatever comes of each."""
    tasks: list[durable.Task[dict[str, Any]]] = [
        ctx.call_activity(activity, input=ref.to_dict(), retry_policy=RETRY, return_type=dict) for ref in refs
    ]
    if tasks:
        yield durable.when_any([durable.when_all(tasks)])  # Raises nothing: each task is looked at by itself.
    return [Outcome(error=GAVE_UP) if task.is_failed else Outcome.from_dict(task.get_result()) for task in tasks]


bp = df.Blueprint()
bp.orchestration_trigger(context_name="ctx", orchestration=INGEST_DOCUMENTS)(ingest_documents)
