"""Numbers in requests."""

from typing import Annotated

from pydantic import BeforeValidator, Field


def _whole(number: object) -> object:
    # JSON has one kind of number: 5.0 is a whole one.
    return int(number) if isinstance(number, float) and number.is_integer() else number


type Whole = Annotated[int, Field(strict=True), BeforeValidator(_whole)]
"""A whole number, and no text that looks like one."""
