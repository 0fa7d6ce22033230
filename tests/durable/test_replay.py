"""Recorded histories of every version, replayed: the orchestrator must decide again what it decided when they were
recorded."""

import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import azure.durable_functions as df
import durabletask.internal.orchestrator_service_pb2 as pb
import pytest

from orchestrators import agent_task, agent_turn, ingest_documents, steps, tool_turn, waits
from perdure.domain import names, next_step
from perdure.domain.names import AGENT_TASK, INGEST_DOCUMENTS
from perdure.domain.next_step import CallTools, Wait, decide
from perdure.domain.references import Run
from tests.durable import agent_recording, ingestion_recording
from tests.durable.recording import HISTORIES, INSTANCE, UNRELEASED, Json, Turn, actions_of, keep, load, take_turn

ORCHESTRATORS = {AGENT_TASK: agent_task.agent_task, INGEST_DOCUMENTS: ingest_documents.ingest_documents}
RETIRED = frozenset[str]()
"""Releases that have no task in flight any more. Their recordings are gone."""

VERSIONS = sorted(path.name for path in HISTORIES.iterdir())
EVERY = [(version, path.stem) for version in VERSIONS for path in sorted((HISTORIES / version).glob("*.json"))]
RECORDED = [name for version, name in EVERY if version == UNRELEASED]


def started(turn: Turn) -> pb.ExecutionStartedEvent:
    """The event that every history begins with: it names the orchestrator."""
    return next(event.executionStarted for event in (*turn.past, *turn.new) if event.HasField("executionStarted"))


def replay(turn: Turn) -> list[Json]:
    request = pb.OrchestratorRequest(instanceId=INSTANCE, pastEvents=turn.past, newEvents=turn.new)
    return actions_of(take_turn(ORCHESTRATORS[started(turn).name], request))


def differences(name: str) -> list[str]:
    """The turns of a recording that are not decided again as they were."""
    return [
        f"generation {g}, turn {t}"
        for g, generation in enumerate(load(name), 1)
        for t, turn in enumerate(generation, 1)
        if replay(turn) != turn.actions
    ]


@pytest.mark.parametrize(("version", "name"), EVERY)
def test_every_turn_of_every_generation_is_decided_again_as_it_was(version: str, name: str) -> None:
    for generation in load(name, version):
        for turn in generation:
            assert replay(turn) == turn.actions


@pytest.mark.parametrize(("version", "name"), EVERY)
def test_a_recording_goes_from_the_start_of_a_task_to_its_end(version: str, name: str) -> None:
    generations = load(name, version)
    assert [generation[0].past for generation in generations] == [[]] * len(generations)
    ends = [generation[-1].actions[-1]["completeOrchestration"]["orchestrationStatus"] for generation in generations]
    assert ends == ["ORCHESTRATION_STATUS_CONTINUED_AS_NEW"] * (len(ends) - 1) + ["ORCHESTRATION_STATUS_COMPLETED"]


def test_there_is_a_recording_of_every_scenario() -> None:
    # As lists: two scenarios of one name would be one recording.
    assert sorted([*agent_recording.SCENARIOS, *ingestion_recording.SCENARIOS]) == RECORDED


def test_every_release_has_recordings_of_its_own_and_nothing_else_has() -> None:
    """CONTRIBUTING.md says how a release gets them, and when they may go."""
    changelog = (HISTORIES.parents[2] / "CHANGELOG.md").read_text("utf-8")
    released = set(re.findall(r"^## \[?(\d+\.\d+\.\d+)", changelog, re.MULTILINE))
    assert released >= RETIRED
    assert {UNRELEASED, *released - RETIRED} == set(VERSIONS) == {version for version, _ in EVERY}


def test_a_release_keeps_what_is_recorded_and_is_never_recorded_again(tmp_path: Path) -> None:
    shutil.copytree(HISTORIES / UNRELEASED, tmp_path / UNRELEASED)
    keep("1.2.3", tmp_path)
    assert {path.name for path in (tmp_path / "1.2.3").iterdir()} == {f"{name}.json" for name in RECORDED}
    with pytest.raises(FileExistsError):
        keep("1.2.3", tmp_path)


def test_every_orchestrator_is_recorded() -> None:
    assert {started(first).name for name in RECORDED for [first, *_] in load(name)} == set(names.ORCHESTRATORS)


# The guard itself: each of these changes would break tasks in flight, and a recording must say so.


def _retrying(**change: Any) -> df.RetryPolicy:
    policy = {
        "first_retry_interval": timedelta(seconds=1), "max_number_of_attempts": 8,
        "backoff_coefficient": 2.0, "max_retry_interval": timedelta(seconds=30),
    }  # fmt: skip
    return df.RetryPolicy(**policy | change)


def _waiting_longer(*args: Any) -> Any:
    decision = decide(*args)
    return replace(decision, seconds=decision.seconds * 9) if isinstance(decision, Wait) else decision


def _waiting_longer_for_the_model(outcome: Any, run: Run, now: Any) -> Any:
    return decide(outcome, replace(run, deadline="2100-01-01T00:00:00+00:00"), now)


def _waiting_a_second(*args: Any) -> Any:
    decision = decide(*args)
    return replace(decision, seconds=1.0) if isinstance(decision, Wait) else decision


def _calling_backwards(*args: Any) -> Any:
    decision = decide(*args)
    return replace(decision, calls=decision.calls[::-1]) if isinstance(decision, CallTools) else decision


def _asking_nobody(*args: Any) -> Any:
    return CallTools(())


@pytest.mark.parametrize(
    ("recording", "target", "name", "changed"),
    [
        ("continues_as_new", agent_task, "GENERATION", 7),
        ("continues_as_new", agent_task, "GENERATION", 11),
        ("waits_for_its_thread_longer_than_a_generation", agent_task, "GENERATION", 11),
        ("waits_for_its_thread_and_wakes_by_itself", agent_task, "PATIENCE", timedelta(seconds=31)),
        ("waits_for_the_model", steps, "decide", _waiting_longer),
        ("gives_up_on_the_model", next_step, "FIRST_DELAY", 2.0),
        ("gives_up_on_the_model_before_the_time_limit", steps, "decide", _waiting_longer_for_the_model),
        ("asks_again_at_once_after_a_broken_exchange", steps, "decide", _waiting_a_second),
        ("waits_while_the_model_is_down", next_step, "MAX_DELAY", 5.0),
        ("answers_after_tools", steps, "decide", _calling_backwards),
        ("answers_after_tools", waits, "RETRY", _retrying(max_number_of_attempts=7)),
        ("answers_after_tools", waits, "RETRY", _retrying(max_number_of_attempts=9)),
        ("answers_after_tools", waits, "RETRY", _retrying(first_retry_interval=timedelta(seconds=2))),
        ("fails_at_the_model_step", waits, "RETRY", _retrying(backoff_coefficient=3.0)),
        ("cannot_join_its_thread", waits, "RETRY", _retrying(max_retry_interval=timedelta(seconds=20))),
        ("waits_for_its_thread_and_is_woken", waits, "TURN", "other"),
        ("hands_its_thread_on", agent_task, "TURN", "other"),
        ("is_cancelled_during_a_tool", waits, "CANCEL", "other"),
        ("runs_what_was_approved", waits, "APPROVAL", "other"),
        ("runs_what_was_approved", steps, "decide_on_look", _asking_nobody),
        ("gives_up_a_call_of_which_nothing_is_heard", tool_turn, "ALLOWANCE", timedelta(seconds=60)),
        ("settles_what_failed_and_keeps_the_rest", tool_turn, "SETTLE_CALLS", "other"),
        ("asks_what_became_of_a_call", tool_turn, "KNOWN", ("committed", "failed", "unknown")),
        ("asks_agents_beside_tools", agent_turn, "AGENT_TASK", "other"),
        ("is_cancelled_while_agents_are_asked", agent_turn, "CANCEL", "other"),
        ("looks_for_decisions_by_itself", next_step, "PATIENCE", 300.0),
        ("looks_for_decisions_more_often_in_a_thread", next_step, "PATIENCE_WITH_THREAD", 90.0),
        ("ingests_several_side_by_side", ingest_documents, "WIDTH", 7),
        ("ingests_several_side_by_side", ingest_documents, "WIDTH", 9),
        ("ingestion_continues_as_new", ingest_documents, "GENERATION", 24),
        ("ingestion_continues_as_new", ingest_documents, "GENERATION", 26),
        ("ingestion_gives_up", ingest_documents, "RETRY", _retrying(max_number_of_attempts=7)),
        ("ingestion_gives_up", ingest_documents, "RETRY", _retrying(max_number_of_attempts=9)),
        ("ingestion_gives_up", ingest_documents, "RETRY", _retrying(max_retry_interval=timedelta(seconds=20))),
        ("ingests_after_a_fault", ingest_documents, "RETRY", _retrying(first_retry_interval=timedelta(seconds=2))),
        ("ingests_after_a_fault", ingest_documents, "RETRY", _retrying(backoff_coefficient=3.0)),
    ],
)
def test_a_changed_decision_is_noticed(recording: str, target: Any, name: str, changed: Any) -> None:
    assert not differences(recording)
    with mock.patch.object(target, name, changed):
        assert differences(recording)


def test_a_changed_start_is_noticed() -> None:
    [[first, *_], *_] = load("answers_at_once")
    start = started(first)
    start.input.value = start.input.value.replace('"step": 1', '"step": 2')
    assert replay(first) != first.actions
