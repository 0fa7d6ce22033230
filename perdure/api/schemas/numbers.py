"""Numbers in requests."""

from pydantic import BeforeValidator


def _whole(number: object) -> object:
    return int(number) if isinstance(number, float) and number.is_integer() else number


WHOLE = BeforeValidator(_whole)
"""Lets a strict integer be written as 5.0: JSON has one kind of number."""
