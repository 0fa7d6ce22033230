"""Tools that misbehave, each in a way of its own. Tests copy this file into an app's `activities/tools/`."""

import asyncio
import time
import uuid
from pathlib import Path

from perdure.tools import ToolContext, ToolError, ToolUnavailable, tool


@tool(idempotent=True)
def echo(text: str) -> str:
    """Give a text back.

    Args:
        text: The text.
    """
    return text


@tool(idempotent=True, timeout=60)
async def nap(seconds: float) -> str:
    """Sleep for a while.

    Args:
        seconds: How long.
    """
    await asyncio.sleep(seconds)
    return f"slept {seconds} s"


@tool
def explode(message: str) -> str:
    """Fail in a way nobody foresaw.

    Args:
        message: What to say.
    """
    raise RuntimeError(message)


@tool
def refuse(message: str) -> str:
    """Fail with a reason for the model.

    Args:
        message: The reason.
    """
    raise ToolError(message)


@tool(idempotent=True, timeout=0.3)
async def hang_async() -> str:
    """Never answer, politely."""
    await asyncio.sleep(3600)
    return "never"


@tool(idempotent=True, timeout=0.3)
def hang_in_thread() -> str:
    """Never answer, and hold a thread."""
    time.sleep(30)
    return "too late"


@tool(max_result_bytes=1000)
def flood() -> str:
    """Answer far too much."""
    return "x" * 100_000


@tool(idempotent=True)
def flaky(counter: str) -> str:
    """Be unavailable twice, then answer.

    Args:
        counter: A file to count attempts in.
    """
    attempts = _count(counter)
    if attempts < 3:
        raise ToolUnavailable("not yet")
    return f"answered at attempt {attempts}"


@tool
def send_once(sent: str, context: ToolContext) -> str:
    """Do something that must not be done twice, and fail to say so the first time.

    Args:
        sent: A file for the idempotency key of each effect.
    """
    with Path(sent).open("a") as keys:
        keys.write(f"{context.idempotency_key}\n")
    if len(Path(sent).read_text().splitlines()) == 1:
        raise ToolUnavailable("the confirmation was lost")
    return "sent"


@tool(timeout=0.3)
def send_and_hang(sent: str) -> str:
    """Do something that must not be done twice, and never answer.

    Args:
        sent: A file that is there afterwards.
    """
    Path(sent).touch()
    time.sleep(3)
    return "too late"


@tool(once_per_turn=False)
async def slow_effect(folder: str) -> str:
    """Leave a file behind, slowly.

    Args:
        folder: Where.
    """
    (Path(folder) / uuid.uuid4().hex).touch()
    await asyncio.sleep(0.5)
    return "done"


@tool(max_result_bytes=1024 * 1024)
def huge() -> str:
    """Answer as much as is allowed, in characters that double when they are stored."""
    return chr(1) * (1024 * 1024)


@tool(timeout=5)
def unreliable(up: str) -> str:
    """Answer if there is a file.

    Args:
        up: The file.
    """
    if not Path(up).exists():
        raise ToolUnavailable("it is down")
    return "it is up"


@tool(idempotent=True)
def gone() -> str:
    """Be unavailable for ever, and tell a secret about it."""
    raise ToolUnavailable("the secret is 0xC0FFEE " + "x" * 10_000)


@tool(approval="always")
def dangerous() -> str:
    """Do what needs a person's approval."""
    return "done without asking"


@tool
def look_up(usd: float, context: ToolContext) -> str:
    """Ask a service that takes money for it.

    Args:
        usd: How much.
    """
    context.spent(usd)
    return "found"


@tool
def transfer(amount: int, folder: str, note: str = "") -> str:
    """Move money.

    Args:
        amount: How much.
        folder: Where it is written down.
        note: What for.
    """
    (Path(folder) / uuid.uuid4().hex).write_text(f"{amount} {note}")
    return f"moved {amount}"


def _count(file: str) -> int:
    path = Path(file)
    count = int(path.read_text() or 0) + 1 if path.exists() else 1
    path.write_text(str(count))
    return count
