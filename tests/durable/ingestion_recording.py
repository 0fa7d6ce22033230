"""The scenarios of an ingestion, and how `recording` plays them."""

from collections import Counter
from dataclasses import dataclass, field

from orchestrators.ingest_documents import GENERATION, WIDTH, ingest_documents
from perdure.domain.ingestion import BatchRef, DocumentRef, Ingestion, Outcome
from perdure.domain.names import DISCARD_DOCUMENT, EMBED_CHUNKS, INGEST_DOCUMENTS, PUBLISH_DOCUMENT, SPLIT_DOCUMENT
from tests.durable import recording
from tests.durable.recording import Fault, Json, Outside, Played

ALWAYS = 1_000_000


@dataclass(frozen=True, slots=True)
class Scenario(Outside):
    """What each document falls into, and what goes wrong with it.

    Attributes:
        batches: By document: how many batches it has, or why it cannot be split.
        embedding: By batch: the error that embedding it reports, or how often it fails before it is done.
    """

    batches: dict[str, int | str]
    embedding: dict[tuple[str, int], str | int] = field(default_factory=dict[tuple[str, int], str | int])


SCENARIOS = {
    "ingests_a_document": Scenario({"a": 3}),
    "ingests_several_side_by_side": Scenario({"a": 9, "b": 0, "c": 2}),
    "ingests_what_it_can": Scenario({"a": 1, "b": "too many", "c": 2}, {("c", 1): "bad key"}),
    "ingests_after_a_fault": Scenario({"a": 2}, {("a", 1): 2}),
    "ingestion_gives_up": Scenario({"a": 2}, {("a", 1): ALWAYS}),
    "ingestion_continues_as_new": Scenario({"a": GENERATION * WIDTH + 3}),
}


def play(scenario: Scenario) -> Played:
    """Run a scenario from start to end."""
    ingestion = Ingestion("ingestion", "tenant", "user", tuple(scenario.batches))
    return recording.play(ingest_documents, INGEST_DOCUMENTS, ingestion.to_dict(), Activities(scenario).run, scenario)


class Activities:
    """Stands in for every activity of an ingestion, and reports what the scenario says."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._failed = Counter[tuple[str, int]]()

    def run(self, name: str, reference: Json) -> Json:
        if name == EMBED_CHUNKS:
            return self._embed(BatchRef.from_dict(reference)).to_dict()
        document = DocumentRef.from_dict(reference).document
        if name == SPLIT_DOCUMENT:
            found = self._scenario.batches[document]
            return (Outcome(found) if isinstance(found, int) else Outcome(error=found)).to_dict()
        if name == PUBLISH_DOCUMENT:
            return Outcome(10).to_dict()
        assert name == DISCARD_DOCUMENT
        return Outcome().to_dict()

    def _embed(self, ref: BatchRef) -> Outcome:
        batch = (ref.document, ref.batch)
        match self._scenario.embedding.get(batch):
            case str() as error:
                return Outcome(error=error)
            case int() as times if self._failed[batch] < times:
                self._failed[batch] += 1
                raise Fault("no answer")
            case _:
                return Outcome(64)
