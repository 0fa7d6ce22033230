"""What the user sees: log lines, the list of functions, errors."""

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from devhost.http_triggers import ALL_METHODS, HttpFunction
from devhost.keys import AuthLevel, Keys
from devhost.triggers import unserved
from devhost.worker import Function

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}

# Libraries that narrate their own work; an app that wants to hear them sets their level itself.
_CHATTY = {
    # The worker library: what it logs as an error it also reports to the host, which shows it.
    "azure.functions": logging.CRITICAL,
    "azure.durable_functions": logging.WARNING,
    "azure.core.pipeline.policies.http_logging_policy": logging.WARNING,
    "durabletask": logging.ERROR,
    "durabletask-client": logging.WARNING,
    "durabletask-worker": logging.WARNING,
    "asyncio": logging.WARNING,
    "grpc": logging.CRITICAL,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "uvicorn": logging.CRITICAL,
}


def say(text: str) -> None:
    """Prints a line for the user, at once: others wait for it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Prints a line about something that is wrong."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def configure_logging(levels: Mapping[str, str], running_function: Callable[[], str | None]) -> None:
    """Sends all log records to standard error, filtered by the levels of host.json.

    Args:
        levels: Category to level, as in ``logging.logLevel``. An app's own records have the category
            ``Function.<name>.User``, those of this host ``Host.<part>``; the longest prefix wins.
        running_function: Tells the function that the calling code is part of, if any.
    """
    numbers = {category: _LEVELS.get(level.lower(), logging.INFO) for category, level in levels.items()}
    default = numbers.pop("default", logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_CategoryFilter(numbers, default, running_function))
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(min([default, *numbers.values()]))
    for name, level in _CHATTY.items():
        logging.getLogger(name).setLevel(level)


class _CategoryFilter(logging.Filter):
    def __init__(self, levels: Mapping[str, int], default: int, running_function: Callable[[], str | None]) -> None:
        super().__init__()
        self._levels = sorted(levels.items(), key=lambda item: len(item[0]), reverse=True)
        self._default = default
        self._running_function = running_function

    def filter(self, record: logging.LogRecord) -> bool:
        function = self._running_function()
        if record.name.startswith("host."):
            category, label = f"Host.{record.name[5:]}", "host"
        elif function is not None:
            category, label = f"Function.{function}.User", function
        else:
            category, label = record.name, record.name
        record.label = label
        return record.levelno >= self._level(category.lower())

    def _level(self, category: str) -> int:
        for prefix, level in self._levels:
            if category == prefix.lower() or category.startswith(f"{prefix.lower()}."):
                return level
        return self._default


class _Formatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-8s [%(label)s] %(message)s", "%H:%M:%S")

    converter = time.localtime


def function_list(http: Sequence[HttpFunction], functions: Sequence[Function], origin: str, keys: Keys) -> str:
    """Lists the functions and their URLs the way Core Tools does."""
    served = {f.function.name: f for f in http}
    lines = ["", "Functions:", ""]
    if not functions:
        lines += ["\tnone: the app defines no function", ""]
    for function in sorted(functions, key=lambda f: (f.name not in served, f.name)):
        line = function.trigger_type
        if (target := served.get(function.name)) is not None:
            methods = "" if target.methods == ALL_METHODS else f"[{','.join(target.methods)}] "
            line = f"{methods}{origin}/{target.route.template}"
            if keys.enforced and target.auth_level is not AuthLevel.ANONYMOUS:
                key = keys.master if target.auth_level is AuthLevel.ADMIN else keys.of_function(function.name)
                line += f"?code={key}"
        lines.append(f"\t{function.name}: {line}")
        missing = unserved(function)
        if missing:
            lines.append(f"\t\tnot served here: {', '.join(missing)}")
        lines.append("")
    if keys.enforced:
        lines.append("Keys of this run:")
        lines += [f"\tmaster: {keys.master}", f"\thost: {keys.host}", f"\tmanagement API: {keys.management}", ""]
    return "\n".join(lines)
