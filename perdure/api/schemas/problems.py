"""Errors in responses."""

from pydantic import BaseModel


class ProblemView(BaseModel):
    """An RFC 9457 problem document: `detail` says what is wrong and what would be right."""

    type: str
    title: str
    status: int
    detail: str


class FieldProblem(BaseModel):
    """What is wrong with one field.

    Attributes:
        pointer: The field as a JSON pointer, or `?name` for a query parameter; empty for the whole body.
    """

    pointer: str
    detail: str


class InvalidView(ProblemView):
    """A problem document that names each field that is wrong."""

    errors: list[FieldProblem]
