"""One call of a tool, whatever the model wrote and whatever the tool does.

1. Read the arguments.
2. Run the function under its time limit: a coroutine as a task, a plain function in a thread of its own.
3. Turn the result into text, in a thread and under the same time limit, and check its size.

What the model should see comes back as an outcome; only `ToolUnavailable` and cancellation leave as exceptions.
"""

import asyncio
import functools
import inspect
import json
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from pydantic_core import to_jsonable_python

from perdure.redaction import content_log, traceback_of
from perdure.tools.arguments import read_arguments
from perdure.tools.own_thread import start_thread
from perdure.tools.tool import Tool, ToolContext, ToolError, ToolUnavailable

CLEANUP_SECONDS = 1.0
"""How long a coroutine that was cancelled may take to clean up before it is left behind."""

MAX_FAILURE_CHARACTERS = 500
"""Length of an unexpected exception's message as the model sees it; the log has all of it."""

MIN_MESSAGE_BYTES = 4096
"""What is wrong may be said at this length even where results must be shorter."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a call gave, as the model reads it."""

    content: str
    is_error: bool
    timed_out: bool = False


class _TimedOut(ToolError):
    """The tool did not end in time."""


@dataclass(frozen=True, slots=True)
class _Returned:
    content: str


@dataclass(frozen=True, slots=True)
class _Raised:
    error: BaseException


type _Ending = _Returned | _Raised


async def run_tool(tool: Tool, arguments: str, context: ToolContext) -> ToolOutcome:
    """Run one call of a tool.

    Args:
        tool: The tool.
        arguments: JSON text exactly as the model wrote it.
        context: Given to the function if it asks for it.

    Returns:
        The result, or one sentence saying what was wrong and what would be right.

    Raises:
        ToolUnavailable: Something outside failed for now.
        asyncio.CancelledError: The caller was cancelled; so is the tool.
    """
    try:
        values = read_arguments(tool, arguments)
        if tool.context_parameter is not None:
            values[tool.context_parameter] = context
        match await _ending(tool, functools.partial(tool.function, **values)):
            case _Returned(content):
                return ToolOutcome(content, is_error=False)
            case _Raised(error):
                raise error
    except ToolUnavailable:
        raise
    except ToolError as error:
        message = _text_of(error) or f"{tool.name} failed without saying why."
        content = _cut(message, max(tool.max_result_bytes, MIN_MESSAGE_BYTES))
        return ToolOutcome(content, is_error=True, timed_out=isinstance(error, _TimedOut))
    except asyncio.CancelledError as error:
        # Cancelled from outside, or by the tool's own hand? Only the first is for the caller to know.
        if (task := asyncio.current_task()) and task.cancelling():
            raise
        return _failure(tool, context, error)
    except BaseException as error:
        # Also SystemExit and KeyboardInterrupt: a tool must not end the process that serves everyone else.
        return _failure(tool, context, error)


async def _ending(tool: Tool, call: Callable[[], Any]) -> _Ending:
    if inspect.iscoroutinefunction(tool.function):
        # SystemExit leaving a task would stop the event loop, so the task ends with the exception as its result.
        work: asyncio.Future[_Ending] = asyncio.create_task(_awaited(tool, call), name=f"tool {tool.name}")
    else:
        work = start_thread(lambda: _called(tool, call), f"tool {tool.name}")
    try:
        # Not asyncio.timeout: it would take a TimeoutError of the tool's own for ours, and it waits for ever for a
        # coroutine that ignores cancellation.
        await asyncio.wait({work}, timeout=tool.timeout)
        if work.done():
            return _Raised(asyncio.CancelledError()) if work.cancelled() else work.result()
    finally:
        if not work.done():
            work.cancel()
            await asyncio.wait({work}, timeout=CLEANUP_SECONDS)
    stopped = isinstance(work, asyncio.Task) and work.done()
    raise _TimedOut(_timed_out(tool, "was stopped" if stopped else "was abandoned and may still be running"))


async def _awaited(tool: Tool, call: Callable[[], Any]) -> _Ending:
    try:
        value = await call()
        return await start_thread(lambda: _called(tool, lambda: value), f"result of {tool.name}")
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return _Raised(error)


def _called(tool: Tool, call: Callable[[], Any]) -> _Ending:
    try:
        return _Returned(_content(tool, call()))
    except BaseException as error:
        return _Raised(error)


def _timed_out(tool: Tool, fate: str) -> str:
    advice = "ask for less" if tool.idempotent else "it may have taken effect, so check before calling it again"
    return f"{tool.name} timed out after {tool.timeout:g} s and {fate}; {advice}."


def _content(tool: Tool, value: object) -> str:
    content = value if isinstance(value, str) else _json(tool, value)
    size = len(content.encode("utf-8", "surrogatepass"))
    if size > tool.max_result_bytes:
        raise ToolError(
            f"{tool.name} returned {size} bytes, over its limit of {tool.max_result_bytes}: narrow the request."
        )
    return _unicode(content)


def _json(tool: Tool, value: object) -> str:
    if isinstance(value, Iterator | AsyncIterator):
        raise ToolError(
            f"{tool.name} ran, but returned a generator; this is a fault of the tool: it must return a list."
        )
    try:
        return json.dumps(
            _finite(to_jsonable_python(value)), ensure_ascii=False, separators=(",", ":"), allow_nan=False
        )
    except Exception as error:
        logger.error("tool %s returned what is no JSON: %s", tool.name, traceback_of(error))
        raise ToolError(
            f"{tool.name} ran, but its result cannot be written as JSON ({_described(error)}); "
            "this is a fault of the tool, other arguments are unlikely to help."
        ) from error


def _finite(value: Any) -> Any:
    """Write NaN and the infinities as strings: they are no JSON, but the model can still read them."""
    match value:
        case float() if not math.isfinite(value):
            return json.dumps(value)
        case list():
            return [_finite(item) for item in cast("list[Any]", value)]
        case dict():
            return {key: _finite(item) for key, item in cast("dict[str, Any]", value).items()}
        case _:
            return value


def _failure(tool: Tool, context: ToolContext, error: BaseException) -> ToolOutcome:
    logger.error("tool %s failed in task %s: %s", tool.name, context.task_id, traceback_of(error))
    content_log.error("tool %s failed in task %s", tool.name, context.task_id, exc_info=error)
    return ToolOutcome(f"{tool.name} failed: {_described(error)}", is_error=True)


def _described(error: BaseException) -> str:
    name, message = type(error).__name__, _text_of(error)
    if len(message) > MAX_FAILURE_CHARACTERS:
        message = message[:MAX_FAILURE_CHARACTERS] + "…"
    return f"{name}: {message}" if message else name


def _text_of(error: BaseException) -> str:
    try:
        return _unicode(str(error))
    except Exception:
        # An exception may fail to describe itself; its type still says something.
        return ""


def _unicode(text: str) -> str:
    """Replace lone surrogates, such as undecodable file names carry: no store and no provider takes them."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _cut(text: str, limit: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")
