"""A thread for one call, awaited like a coroutine.

A shared pool would let a few stuck calls starve all others, and Python waits for a pool's threads when it exits. A
thread of its own harms nobody when it is abandoned, and as a daemon it does not hold up the exit.
"""

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import Callable


def start_thread[T](function: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Run a function in a daemon thread of its own, with the caller's context variables.

    Cancelling the future abandons the thread; nothing can stop it.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(deliver: Callable[[], None]) -> None:
        if not future.done():
            deliver()

    def work() -> None:
        try:
            value = context.run(function)
        except BaseException as failure:
            deliver: Callable[[], None] = functools.partial(future.set_exception, failure)
        else:
            deliver = functools.partial(future.set_result, value)
        # A closed loop means that nobody waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, deliver)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future
