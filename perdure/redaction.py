"""What may be read in logs and traces: everything written there goes through one function, the redactor.

Perdure's own takes out what looks like a credential, an e-mail address or a card number. `PERDURE_REDACTOR` names
another, as `module:function`, from text to text. What users, models and tools said goes to a logger of its own,
`perdure.content`, which is silent unless `PERDURE_LOG_CONTENT` says otherwise.
"""

import importlib
import logging
import re
import traceback
from collections.abc import Callable
from typing import Any, cast

type Redactor = Callable[[str], str]

SILENT = logging.CRITICAL + 1
"""A level that nothing reaches. A logger's `disabled` would not do: whoever configures logging next resets it."""

content_log = logging.getLogger("perdure.content")
"""For prompts, replies, arguments and results, and whatever may quote them."""
content_log.setLevel(SILENT)

_PATTERNS = (
    (re.compile(r"\bpdk_[0-9a-zA-Z]+_[\w-]+"), "[api key]"),
    (re.compile(r"\b(?:sk|pk|rk|ghp|gho|xox[abp])[-_][\w-]{16,}"), "[api key]"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), "[token]"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w~+/.=-]{8,}"), r"\1 [token]"),
    (re.compile(r"(?i)\b(AccountKey|SharedAccessKey|password|secret|sig|code)=[^;&\s\"']{4,}"), r"\1=[secret]"),
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"), "[e-mail]"),
    (re.compile(r"(?<![\w.])(?:\d[ -]?){12,18}\d(?!\w)"), "[number]"),
)

NOT_SHOWN = "[not shown: it could not be redacted]"


class RedactorError(Exception):
    """The redactor that a setting names cannot be had."""


def redact(text: str) -> str:
    """Take out credentials, e-mail addresses and long numbers such as those of cards and accounts."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def load_redactor(name: str | None) -> Redactor:
    """Find the redactor of a setting, `module:function`; Perdure's own when there is none.

    Raises:
        RedactorError: There is no such function.
    """
    if name is None:
        return redact
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise RedactorError(f"{name!r} is no module:function that can be imported: {error}") from error
    if not callable(found):
        raise RedactorError(f"{name!r} is no function")
    return cast("Redactor", found)


def redact_logs(redactor: Redactor) -> None:
    """Send every log record of this process through a redactor, before any handler sees it."""
    inner = logging.getLogRecordFactory()
    if isinstance(inner, _RedactingFactory):
        inner = inner.inner
    logging.setLogRecordFactory(_RedactingFactory(inner, redactor))


def redacted(text: str) -> str:
    """What of a text may be read in logs and traces, as the redactor of this process has it."""
    factory = logging.getLogRecordFactory()
    return factory.safe(lambda: text) if isinstance(factory, _RedactingFactory) else redact(text)


def traceback_of(error: BaseException) -> str:
    """What kind of error it is and how it came about, without what it says: that may quote content."""
    lines = traceback.format_tb(error.__traceback__)
    return "".join([type(error).__name__, "\nTraceback (most recent call last):\n", *lines]).rstrip()


class _RedactingFactory:
    """Makes log records that hold redacted text only: no arguments, and a traceback as text."""

    def __init__(self, inner: Callable[..., logging.LogRecord], redactor: Redactor) -> None:
        self.inner = inner
        self._redactor = redactor
        self._formatter = logging.Formatter()

    def __call__(self, *args: Any, **fields: Any) -> logging.LogRecord:
        record = self.inner(*args, **fields)
        record.msg, record.args = self.safe(record.getMessage), ()
        if (error := record.exc_info) and error[0] is not None:
            record.exc_text, record.exc_info = self.safe(lambda: self._formatter.formatException(error)), None
        return record

    def safe(self, text: Callable[[], str]) -> str:
        """Redact what a function says; tell nothing if either fails."""
        try:
            return self._redactor(text())
        except Exception:
            # A log line may neither fail what it tells of nor tell what was to be hidden.
            return NOT_SHOWN
