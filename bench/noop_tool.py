"""A tool that does nothing. It is copied into the `activities/tools/` of the app that is measured."""

from perdure.tools import tool

TEXT = "x" * 200


@tool(idempotent=True)
def noop(number: int) -> str:
    """Give a fixed text back, without any work.

    Args:
        number: Any number.
    """
    return TEXT
