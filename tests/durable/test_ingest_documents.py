"""The ingestion's orchestrator on a real task hub, its activities swapped by name."""

from collections import Counter

from orchestrators.ingest_documents import GAVE_UP, GENERATION, WIDTH
from perdure.domain.names import DISCARD_DOCUMENT, EMBED_CHUNKS, PUBLISH_DOCUMENT, SPLIT_DOCUMENT
from tests.durable.ingestion_recording import SCENARIOS, play
from tests.durable.recording import Played


def played(name: str) -> Played:
    done = play(SCENARIOS[name])
    assert done.status == "ORCHESTRATION_STATUS_COMPLETED"
    return done


def counts(done: Played) -> Counter[str]:
    return Counter(name for name, _ in done.activities)


def test_a_document_is_split_then_embedded_then_published() -> None:
    done = played("ingests_a_document")
    assert [name for name, _ in done.activities] == [SPLIT_DOCUMENT, *[EMBED_CHUNKS] * 3, PUBLISH_DOCUMENT]
    assert done.output == {"status": "completed", "documents": [{"id": "a", "passages": 10}], "failures": []}


def test_every_batch_of_every_document_is_embedded_once() -> None:
    done = played("ingests_several_side_by_side")
    embedded = Counter((ref["document"], ref["batch"]) for name, ref in done.activities if name == EMBED_CHUNKS)
    assert embedded == Counter([*(("a", n) for n in range(9)), ("c", 0), ("c", 1)])
    assert [document["id"] for document in done.output["documents"]] == ["a", "b", "c"]


def test_a_document_that_fails_is_discarded_and_keeps_no_other_from_being_published() -> None:
    done = played("ingests_what_it_can")
    assert (done.output["status"], [one["id"] for one in done.output["documents"]]) == ("failed", ["a"])
    assert done.output["failures"] == [{"id": "b", "detail": "too many"}, {"id": "c", "detail": "bad key"}]
    assert [ref["document"] for name, ref in done.activities if name == PUBLISH_DOCUMENT] == ["a"]
    assert sorted(ref["document"] for name, ref in done.activities if name == DISCARD_DOCUMENT) == ["b", "c"]


def test_a_passing_fault_is_only_a_delay() -> None:
    done = played("ingests_after_a_fault")
    assert (done.output["status"], counts(done)[EMBED_CHUNKS]) == ("completed", 4)


def test_a_lasting_fault_ends_the_document_with_a_reason() -> None:
    done = played("ingestion_gives_up")
    assert done.output["failures"] == [{"id": "a", "detail": GAVE_UP}]
    assert counts(done)[DISCARD_DOCUMENT] == 1


def test_a_long_ingestion_continues_as_new_and_embeds_nothing_twice() -> None:
    done = played("ingestion_continues_as_new")
    assert counts(done)[EMBED_CHUNKS] == GENERATION * WIDTH + 3
    assert counts(done)[SPLIT_DOCUMENT] == 1
    [_, [first, *_]] = done.generations
    [started] = [event.executionStarted for event in first.new if event.HasField("executionStarted")]
    assert f'"embedded": {GENERATION * WIDTH}' in started.input.value
