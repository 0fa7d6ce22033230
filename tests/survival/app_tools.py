"""Tools whose effects are counted outside of the app. Tests copy this file into an app's `activities/tools/`."""

import os

from perdure.tools import ToolContext, tool


@tool(timeout=1)
def charge(order: str, context: ToolContext) -> str:
    """Charge for an order, which must not happen twice.

    Args:
        order: Which.
    """
    _count("charge", order, context.idempotency_key)
    return f"charged for {order}"


@tool(idempotent=True)
def look_up(order: str, context: ToolContext) -> str:
    """Look an order up, as often as you like.

    Args:
        order: Which.
    """
    _count("look_up", order, context.idempotency_key)
    return f"{order} is on its way"


def _count(effect: str, order: str, key: str) -> None:
    # One write, of one line: whatever kills the process, it is there whole or not at all.
    counter = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(counter, f"{effect} {order} {key}\n".encode())
    os.close(counter)
