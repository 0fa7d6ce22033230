"""What the document routes do, apart from speaking HTTP and starting orchestrations."""

import asyncio
import hashlib
import json
import secrets
from dataclasses import dataclass

from perdure.api.problems import Conflict, NotFound
from perdure.api.schemas.memory import DocumentRequest, LoadRequest
from perdure.bootstrap import Services
from perdure.domain.ingestion import Ingestion
from perdure.domain.principal import Principal
from perdure.stores.memory_documents import LoadedDocument, document_id

PREFIX = "ingestion-"
"""How ids of ingestions begin; those of tasks do not."""


@dataclass(frozen=True, slots=True)
class Load:
    """Documents a caller wants to have in memory.

    Attributes:
        id: The orchestration's id. The same documents of the same user always have the same.
        run: The ingestion's own id: what one run stages, no other run touches.
        documents: By their ids, each once.
        published: Those that are there already.
    """

    id: str
    run: str
    owner: Principal
    documents: dict[str, DocumentRequest]
    published: dict[str, LoadedDocument]

    @property
    def is_done(self) -> bool:
        return len(self.published) == len(self.documents)

    @property
    def ingestion(self) -> Ingestion:
        """The orchestration's input."""
        return Ingestion(self.run, self.owner.tenant, self.owner.user, tuple(self.documents))


async def prepare_load(app: Services, who: Principal, request: LoadRequest) -> Load:
    """Find out what of a request is there already.

    Raises:
        Conflict: One of the documents is being removed.
        EmbeddingsMismatch: Nothing can be loaded as the app is configured.
    """
    await app.ingestion.check()
    wanted = {document_id(one.title, one.text): one for one in request.all}
    parts = [who.tenant, who.user, *sorted(wanted)]
    load_id = f"{PREFIX}{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"
    published: dict[str, LoadedDocument] = {}
    for id, asked in wanted.items():
        if found := await app.memories.get(who.tenant, who.user, id):
            published[id] = found
        elif await app.memories.is_being_removed(who.tenant, who.user, id):
            raise Conflict(f"{asked.title!r} is being removed. Try again later, or DELETE it once more: document {id}.")
    return Load(load_id, secrets.token_hex(8), who, wanted, published)


async def stage(app: Services, load: Load) -> None:
    """Keep the texts of all documents that are not there yet, so that the orchestration needs their ids only."""
    await app.ingestion.note(load.owner.tenant, load.owner.user, load.id)
    missing = {id: document for id, document in load.documents.items() if id not in load.published}
    async with asyncio.TaskGroup() as group:
        for id, document in missing.items():
            group.create_task(app.ingestion.stage(load.ingestion.ref(id), document.title, document.text))


def own_ingestion(who: Principal, ingestion_id: str, input: str | None) -> Ingestion:
    """The caller's ingestion, of an orchestration's input. Raises NotFound, in the same words for somebody else's."""
    ingestion = Ingestion.from_dict(json.loads(input)) if input and ingestion_id.startswith(PREFIX) else None
    if ingestion is None or (ingestion.tenant, ingestion.user) != (who.tenant, who.user):
        raise NotFound(f"There is no ingestion {ingestion_id[:64]!r}; POST /api/memory/documents starts one.")
    return ingestion


async def take_back(app: Services, ingestion: Ingestion) -> None:
    """Remove what an ingestion laid down and has not published; what still runs of it does the same."""
    for document in ingestion.documents:
        await app.ingestion.discard(ingestion.ref(document))
