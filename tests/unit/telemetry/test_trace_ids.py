"""Ids of traces and spans: the same in every process, whatever happened to the one before."""

from dataclasses import replace
from datetime import UTC, datetime

from perdure.domain.task import Agent, Limits, Task
from perdure.telemetry import names
from perdure.telemetry.trace_ids import request_of, span_of

AGENT = Agent("tester", "Be exact.", "scripted", (), Limits(5, 60))
TASK = Task("01a2031aca52b0554e16a277c7936794", "tenant", "user", "?", None, AGENT, {}, datetime.now(UTC))
TRACED = replace(TASK, trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")


def test_a_task_without_a_traced_request_has_a_trace_of_its_own_id() -> None:
    assert f"{span_of(TASK).trace_id:032x}" == TASK.id
    assert request_of(TASK) is None


def test_a_task_is_in_the_trace_of_its_request_and_sampled_as_that_is() -> None:
    own, request = span_of(TRACED), request_of(TRACED)
    assert request and f"{request.span_id:016x}" == "b7ad6b7169203331"
    assert f"{own.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert not own.trace_flags.sampled
    assert span_of(TASK).trace_flags.sampled


def test_the_spans_of_a_task_and_its_steps_have_ids_that_follow_from_the_task() -> None:
    ids = [f"{span_of(TASK, step).span_id:016x}" for step in (None, 1, 2)]
    # Written down: other processes, and later versions, must find the same.
    assert ids == ["78b46ec92d83e662", "4d6b80a9475a697e", "07de74f92632aaeb"]
    assert f"{span_of(TRACED, 2).span_id:016x}" == ids[2]


def test_a_trace_that_is_malformed_is_none() -> None:
    assert request_of(replace(TASK, trace="00-nonsense")) is None


def test_names_are_those_of_the_genai_conventions() -> None:
    """The package has them, marked as moved; that is why they are written down a second time."""
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, http_attributes
    from opentelemetry.semconv.attributes import error_attributes

    known = {
        value
        for module in (gen_ai_attributes, http_attributes, error_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    ours = {value for name, value in vars(names).items() if name.isupper()}
    assert {name for name in ours if "." in name and not name.startswith("perdure")} <= known
    operations = {one.value for one in gen_ai_attributes.GenAiOperationNameValues}
    assert {names.CHAT, names.EXECUTE_TOOL, names.INVOKE_AGENT} <= operations
