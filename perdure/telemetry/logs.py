"""Log records as OpenTelemetry has them, each with the ids of the task it tells of."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import context as contexts
from opentelemetry._logs import Logger, LoggerProvider, LogRecord, SeverityNumber

from perdure.domain.references import Reference
from perdure.telemetry import names

OURS = ("perdure", "activities", "triggers", "orchestrators")
"""Loggers of the app, tools included. Others are exported from a warning up: what HTTP clients say besides quotes
addresses, and those are content."""

EXPORTERS = ("opentelemetry", "azure.", "urllib3", "requests", "msal")
"""Loggers of exporters and what they send with, which would tell of telling."""

_SEVERITIES = (
    (logging.CRITICAL, SeverityNumber.FATAL), (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN), (logging.INFO, SeverityNumber.INFO),
)  # fmt: skip

_about: ContextVar[Reference | None] = ContextVar("perdure_log_about", default=None)


@contextmanager
def about(task: Reference) -> Generator[None]:
    """Let what is logged in this block carry the ids of a task."""
    token = _about.set(task)
    try:
        yield
    finally:
        _about.reset(token)


class ExportingHandler(logging.Handler):
    """Hands log records to OpenTelemetry. They are redacted: see `perdure.redaction`.

    (The SDK's own handler is deprecated, and the package that has its successor also patches the logging module.)
    """

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__(logging.INFO)
        self._provider = provider
        self._loggers = dict[str, Logger]()

    def filter(self, record: logging.LogRecord) -> bool:
        ours = record.name.startswith(OURS)
        return ours or (record.levelno >= logging.WARNING and not record.name.startswith(EXPORTERS))

    def emit(self, record: logging.LogRecord) -> None:
        if (logger := self._loggers.get(record.name)) is None:
            logger = self._loggers[record.name] = self._provider.get_logger(record.name)
        attributes = dict[str, str]()
        if task := _about.get():
            attributes = {names.TENANT: task.tenant, names.TASK: task.task}
        if record.exc_text:
            attributes["exception.stacktrace"] = record.exc_text
        logger.emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                context=contexts.get_current(),
                severity_text=record.levelname,
                severity_number=next((number for level, number in _SEVERITIES if record.levelno >= level), None),
                body=record.getMessage(),
                attributes=attributes,
            )
        )
