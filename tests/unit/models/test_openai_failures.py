"""What the adapter makes of a provider that fails, refuses or cuts off."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import openai
import pytest

from perdure.models.failures import HANDLING, Handling, failure
from perdure.models.openai_client import OpenAIClient
from perdure.models.port import ModelError, ModelInterrupted, ModelRejected, ModelUnavailable, ModelUnfit
from tests.openai_server import Answer, Events, Failure, OpenAIServer, Raw, Slow, chunk
from tests.unit.models.test_openai import KEY, ask, at, stream


def refusal(script: list[Any], kind: type[ModelError], *, timeout: float = 5.0) -> Any:
    with OpenAIServer(script) as server, pytest.raises(kind) as caught:
        ask(at(server, timeout=timeout))
    return caught.value


def stream_refusal(script: list[Any], kind: type[ModelError], *, timeout: float = 5.0) -> Any:
    with OpenAIServer(script) as server, pytest.raises(kind) as caught:
        stream(at(server, timeout=timeout))
    return caught.value


def server_that_is_gone() -> OpenAIServer:
    with OpenAIServer([]) as server:
        return server


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_an_overloaded_or_failing_provider_is_unavailable_and_asked_once(status: int) -> None:
    assert str(status) in str(refusal([Failure(status)], ModelUnavailable))


@pytest.mark.parametrize("word", HANDLING)
def test_every_failure_of_the_table_is_handled_as_it_says(word: str | int) -> None:
    kind = type(failure(HANDLING[word], ""))
    match word:
        case int():
            told = refusal([Failure(word)], ModelError)
        case "content_filter" | "context_length_exceeded" | "insufficient_quota":
            told = refusal([Failure(429, code=word)], ModelError)
        case "invalid_request_error":
            told = stream_refusal([Events((json.dumps({"error": {"message": "no", "type": word}}),))], ModelError)
        case "unreachable":
            with pytest.raises(ModelError) as caught:
                ask(at(server_that_is_gone()))
            told = caught.value
        case "silent":
            told = refusal([Slow(0.4, Answer("late"))], ModelError, timeout=0.1)
        case "broken":
            told = stream_refusal([Events((chunk({"content": "Hel"}),), cut=True)], ModelError)
        case "failed_in_reply":
            told = stream_refusal([Events(('{"error": {"message": "overloaded"}}',))], ModelError)
        case _:
            told = OpenAIClient(at(server_that_is_gone())).failure(openai.OpenAIError("no provider causes this one"))
    assert type(told) is kind


def test_a_status_that_is_not_in_the_table_is_an_outage_from_500_on_and_a_refusal_below() -> None:
    assert type(refusal([Failure(507)], ModelError)) is ModelUnavailable
    assert type(refusal([Failure(451)], ModelError)) is ModelRejected


def test_the_ways_of_handling_are_four_errors_of_the_port() -> None:
    kinds = {how: type(failure(how, "")) for how in Handling}
    assert kinds == {
        Handling.RETRY_NOW: ModelInterrupted,
        Handling.RETRY_LATER: ModelUnavailable,
        Handling.FALLBACK: ModelUnfit,
        Handling.FATAL: ModelRejected,
    }


def test_a_stream_that_falls_silent_is_no_accident_of_one_exchange() -> None:
    told = stream_refusal([Answer("Hello", pause=0.5)], ModelError, timeout=0.1)
    assert type(told) is ModelUnavailable


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "Retry-After": "9"}, 0.25),
        ({"retry-after-ms": "soon", "Retry-After": "9"}, 9.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "1e999"}, None),
        ({"Retry-After": "nan"}, None),
        ({}, None),
    ],
)
def test_the_wait_the_provider_asks_for_is_passed_on(headers: dict[str, str], seconds: float | None) -> None:
    assert refusal([Failure(429, headers=headers)], ModelUnavailable).retry_after == seconds


def test_a_wait_until_a_date_becomes_seconds() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < refusal([Failure(503, headers={"Retry-After": date})], ModelUnavailable).retry_after <= 60


def test_a_refused_connection_is_unavailable() -> None:
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        ask(at(server_that_is_gone()))


def test_a_silent_provider_is_unavailable() -> None:
    assert "timed out" in str(refusal([Slow(0.4, Answer("late"))], ModelUnavailable, timeout=0.1)).lower()


@pytest.mark.parametrize(
    "body",
    [
        Raw("<html>Bad gateway</html>", "text/html"),
        Raw("not json"),
        Raw("[]"),
        Raw('{"choices": []}'),
        Raw('{"choices": null}'),
        Raw('{"choices": [{"index": 0}]}'),
        Raw(b"\xff\xfe{"),
        Raw(""),
    ],
)
def test_a_body_that_is_no_completion_is_unavailable(body: Raw) -> None:
    assert "OPENAI_BASE_URL" in str(refusal([body], ModelUnavailable))


@pytest.mark.parametrize(
    "events",
    [
        Events((chunk({"content": "Hel"}),), cut=True),
        Events((chunk({"content": "Hel"}), chunk({}, "stop")), cut=True),
        Events((chunk({"content": "Hel"}),)),
        Events((chunk({"content": "Hel"}), "[DONE]")),
        Events((chunk({"content": "Hel"}), '{"choices": [{')),
        Events((chunk({"content": "Hel"}), "42")),
        Events((chunk({"content": "Hel"}), '{"choices": [{"index": 0}]}')),
        Events(()),
        Events((chunk({"content": "Hel"}), '{"error": {"message": "overloaded", "type": "server_error"}}')),
        Raw("<html>Bad gateway</html>", "text/html"),
        Raw(b"data: \xff\xfe\n\n", "text/event-stream"),
    ],
)
def test_a_stream_that_is_cut_or_broken_is_unavailable(events: Events | Raw) -> None:
    stream_refusal([events], ModelUnavailable)


def test_a_stream_refused_before_it_begins_is_told_like_a_plain_reply() -> None:
    assert stream_refusal([Failure(429, headers={"Retry-After": "2"})], ModelUnavailable).retry_after == 2.0


def test_a_provider_that_is_silent_before_streaming_is_unavailable() -> None:
    stream_refusal([Slow(0.4, Answer("late"))], ModelUnavailable, timeout=0.1)


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (400, "malformed or too long"),
        (401, "OPENAI_API_KEY"),
        (403, "role"),
        (404, "deployment"),
        (422, "tools"),
        (402, "refuses"),
    ],
)
def test_a_refused_request_says_which_setting_to_look_at(status: int, hint: str) -> None:
    error = str(refusal([Failure(status, "the provider's words")], ModelRejected))
    assert hint in error
    assert "the provider's words" in error


def test_a_used_up_quota_is_rejected_although_it_is_a_429() -> None:
    assert "quota" in str(refusal([Failure(429, code="insufficient_quota")], ModelRejected))


def test_a_filtered_prompt_is_rejected_with_a_clear_text() -> None:
    assert "content filter" in str(refusal([Failure(400, code="content_filter")], ModelRejected))


def test_a_filtered_reply_is_rejected_with_a_clear_text() -> None:
    assert "content filter" in str(refusal([Answer("Hel", finish_reason="content_filter")], ModelRejected))


def test_a_filtered_stream_is_rejected_with_a_clear_text() -> None:
    assert "content filter" in str(stream_refusal([Answer("Hel", finish_reason="content_filter")], ModelRejected))


def test_an_invalid_request_found_in_mid_stream_is_rejected() -> None:
    event = json.dumps({"error": {"message": "too long", "type": "invalid_request_error"}})
    assert "too long" in str(stream_refusal([Events((event,))], ModelRejected))


def test_the_key_appears_in_no_error_even_when_the_provider_repeats_it() -> None:
    error = refusal([Failure(401, f"Incorrect API key provided: {KEY}")], ModelRejected)
    assert KEY not in str(error)
    assert "***" in str(error)
    assert error.__cause__ is None and error.__suppress_context__


def test_a_provider_that_answers_with_a_page_is_quoted_briefly() -> None:
    error = refusal([Raw("<p>" * 10_000, "text/html", 502)], ModelUnavailable)
    assert len(str(error)) <= 500
