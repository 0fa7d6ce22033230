"""What may be read in logs."""

import logging
import logging.config
from collections.abc import Iterator
from dataclasses import replace

import pytest

from perdure.bootstrap import guard_logs
from perdure.redaction import NOT_SHOWN, content_log, redact, redact_logs
from perdure.settings import Settings, SettingsError

logger = logging.getLogger("perdure.test")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    factory, level = logging.getLogRecordFactory(), content_log.level
    yield
    logging.setLogRecordFactory(factory)
    content_log.setLevel(level)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key pdk_0123456789abcdef_Ab-c_d9 was used", "key [api key] was used"),
        ("Authorization: Bearer abc.def-ghi_jkl", "Authorization: Bearer [token]"),
        ("token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", "token [token]"),
        ("AccountEndpoint=https://x;AccountKey=abcd1234==;", "AccountEndpoint=https://x;AccountKey=[secret];"),
        ("GET /status?taskHub=x&code=s3cr3t&y=1", "GET /status?taskHub=x&code=[secret]&y=1"),
        ("mail ann.b+c@mail.example.org now", "mail [e-mail] now"),
        ("card 4111 1111 1111 1111.", "card [number]."),
        ("task 0199a1b2c3d4e5f60718293a4b5c6d7e: 7 ms", "task 0199a1b2c3d4e5f60718293a4b5c6d7e: 7 ms"),
        ("", ""),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_or_a_person_is_taken_out(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_long_text_is_redacted_in_reasonable_time() -> None:
    # Patterns that backtrack would take minutes over these.
    for text in ("a" * 200_000, "1 " * 100_000, "x@" * 100_000, "a.b@c." * 30_000, "eyJ" * 60_000, "bearer " * 30_000):
        redact(text)


def test_every_line_is_redacted_with_its_arguments_and_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    guard_logs(Settings())
    guard_logs(Settings())
    try:
        raise ValueError("no such user: ann@example.org")
    except ValueError:
        logger.exception("lookup of %s failed", "bob@example.org")
    assert "@example.org" not in caplog.text
    assert "lookup of [e-mail] failed" in caplog.text
    assert "ValueError: no such user: [e-mail]" in caplog.text


def test_a_redactor_that_fails_hides_the_line_and_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(text: str) -> str:
        raise RuntimeError(text)

    redact_logs(broken)
    logger.warning("the secret is %s", "plum")
    assert [record.getMessage() for record in caplog.records] == [NOT_SHOWN]


def test_a_line_with_too_few_arguments_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    guard_logs(Settings())
    logger.warning("%s and %s", "one")
    assert NOT_SHOWN in caplog.text


def test_content_is_logged_only_where_the_settings_say_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    guard_logs(Settings())
    content_log.info("asked: %s", "what is love")
    assert caplog.text == ""
    guard_logs(replace(Settings(), log_content=True))
    content_log.info("asked: %s", "what is love, ann@example.org")
    assert "asked: what is love, [e-mail]" in caplog.text


def test_content_stays_out_of_the_log_whoever_configures_logging_later(caplog: pytest.LogCaptureFixture) -> None:
    guard_logs(Settings())
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    content_log.critical("asked: %s", "what is love")
    assert caplog.text == ""


def test_a_redactor_of_the_users_own_is_found(caplog: pytest.LogCaptureFixture) -> None:
    guard_logs(replace(Settings(), redactor="string:capwords"))
    logger.warning("hello there")
    assert "Hello There" in caplog.text


@pytest.mark.parametrize("name", ["nowhere:f", "string:nothing", "string", "string:digits", ":", "os:sep"])
def test_a_redactor_that_cannot_be_had_stops_the_start(name: str) -> None:
    with pytest.raises(SettingsError, match="PERDURE_REDACTOR"):
        guard_logs(replace(Settings(), redactor=name))
