"""What a function must say to become a tool, and what a model is told of it."""

import inspect
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from perdure.tools import ToolContext, tool
from perdure.tools.docstring import parse_docstring


class Address(BaseModel):
    street: str
    number: int = 1


@tool(idempotent=True, approval="always", timeout=3.5, max_result_bytes=10, version="2")
def find_house(
    address: Address,
    kind: Literal["flat", "house"],
    context: ToolContext,
    tags: list[str] | None = None,
    floors: Annotated[int, Field(ge=1)] = 2,
) -> str:
    """Find a house.

    It may take a while.

    Args:
        address: Where it stands,
            with its number.
        kind (str): What it is: one of two.

    Returns:
        Its name.
    """
    return f"{context.user_id} {address.street} {kind} {tags} {floors}"


def test_the_description_is_the_docstring_before_its_arguments() -> None:
    assert find_house.description == "Find a house.\n\nIt may take a while."


def test_the_schema_follows_from_annotations_defaults_and_docstring() -> None:
    assert find_house.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["address", "kind"],
        "properties": {
            "address": {"$ref": "#/$defs/Address", "description": "Where it stands, with its number."},
            "kind": {"enum": ["flat", "house"], "type": "string", "description": "What it is: one of two."},
            "tags": {"anyOf": [{"items": {"type": "string"}, "type": "array"}, {"type": "null"}], "default": None},
            "floors": {"type": "integer", "minimum": 1, "default": 2},
        },
        "$defs": {
            "Address": {
                "type": "object",
                "required": ["street"],
                "properties": {"street": {"type": "string"}, "number": {"type": "integer", "default": 1}},
                "title": "Address",
            }
        },
    }


def test_the_context_is_wanted_but_hidden_from_the_model() -> None:
    assert find_house.wants_context
    assert find_house.context_parameter == "context"
    assert "context" not in find_house.spec.parameters["properties"]


def test_keywords_set_the_policy() -> None:
    policy = (find_house.idempotent, find_house.approval, find_house.timeout, find_house.max_result_bytes)
    assert policy == (True, "always", 3.5, 10)
    assert (find_house.cache_ttl, find_house.version) == (None, "2")


def test_a_tool_that_says_nothing_is_never_rerun_never_cached_and_needs_no_approval() -> None:
    @tool
    def ping() -> str:
        """Ping."""
        return "pong"

    assert (ping.idempotent, ping.approval, ping.timeout, ping.cache_ttl) == (False, "never", 30.0, None)
    assert (ping.max_result_bytes, ping.version, ping.wants_context) == (65536, "1", False)
    assert ping.spec.parameters == {"type": "object", "properties": {}, "additionalProperties": False}


def test_calling_a_tool_calls_its_function() -> None:
    @tool
    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    assert double(21) == 42


def test_a_description_on_the_annotation_wins_over_the_docstring() -> None:
    @tool
    def greet(name: Annotated[str, Field(description="From the annotation.")]) -> str:
        """Greet.

        Args:
            name: From the docstring.
        """
        return name

    assert greet.parameters["properties"]["name"]["description"] == "From the annotation."


def test_parameters_may_have_names_that_pydantic_uses_itself() -> None:
    @tool
    def odd(schema: str, copy: int, model_config: str, _private: int, json: str = "x") -> str:
        """Take odd names."""
        return schema

    assert list(odd.parameters["properties"]) == ["schema", "copy", "model_config", "_private", "json"]


def no_annotation(thing) -> str:
    """Do it."""
    return thing


def no_docstring(thing: str) -> str:
    return thing


def only_arguments(thing: str) -> str:
    """
    Args:
        thing: A thing.
    """
    return thing


def star(*things: str) -> str:
    """Do it."""
    return ""


def double_star(**things: str) -> str:
    """Do it."""
    return ""


def positional(thing: str, /) -> str:
    """Do it."""
    return thing


def unsupported(fine: str, thing: type(inspect)) -> str:
    """Do it."""
    return ""


def wrong_default(thing: str = None) -> str:  # noqa: RUF013 - the wrong default is what is tested
    """Do it."""
    return thing


def field_default(thing: str = Field("x")) -> str:
    """Do it."""
    return thing


def drifted(thing: str) -> str:
    """Do it.

    Args:
        thin: A thing.
    """
    return thing


def two_contexts(thing: ToolContext, other: ToolContext) -> str:
    """Do it."""
    return ""


def unresolved(thing: "Nowhere") -> str:  # noqa: F821 - the unknown name is what is tested
    """Do it."""
    return ""


def yielding(thing: str) -> Any:
    """Do it."""
    yield thing


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (no_annotation, "'thing' has no annotation; write its type, such as thing: str"),
        (no_docstring, "docstring is missing"),
        (only_arguments, "docstring is missing"),
        (star, r"'things': \*things has no schema; take a list"),
        (double_star, r"'things': \*\*things has no schema; name each parameter"),
        (positional, "'thing' is positional-only"),
        (unsupported, "'thing': .* cannot be written as JSON; use str"),
        (wrong_default, r"'thing': the default None does not fit .* `\| None`"),
        (field_default, r"'thing' has Field\(\) as its default; write thing: Annotated"),
        (drifted, "describes 'thin', which is not a parameter; did you mean 'thing'"),
        (two_contexts, "'other' is a second ToolContext"),
        (unresolved, "annotation cannot be resolved"),
        (yielding, "it yields"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused_with_its_name_and_file(function: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says) as refused:
        tool(function)
    assert f"tool {function.__name__} ({__file__}:" in str(refused.value)


@pytest.mark.parametrize("name", ["Camel", "_hidden", "x" * 49, "ünder", "1st"])
def test_a_name_that_is_no_function_name_for_models_is_refused(name: str) -> None:
    def function() -> None:
        """Do it."""

    function.__name__ = name
    with pytest.raises(TypeError, match="name must match"):
        tool(function)


@pytest.mark.parametrize("thing", [print, int, Address, lambda: 1])
def test_only_plain_functions_can_be_tools(thing: Any) -> None:
    with pytest.raises(TypeError):
        tool(thing)


@pytest.mark.parametrize(
    "policy",
    [
        {"approval": "sometimes"},
        {"timeout": 0},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"max_result_bytes": 0},
        {"cache_ttl": 0, "idempotent": True},
        {"cache_ttl": 60},
        {"max_result_bytes": 1024 * 1024 + 1},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(policy: dict[str, Any]) -> None:
    def function() -> None:
        """Do it."""

    with pytest.raises(ValueError, match="tool function"):
        tool(**policy)(function)


def test_a_dataclass_is_a_fine_parameter() -> None:
    @dataclass
    class Point:
        x: int

    @tool
    def plot(point: Point) -> int:
        """Plot."""
        return point.x

    point = plot.parameters["$defs"]["Point"]
    assert point["properties"]["x"]["type"] == "integer"
    assert point["required"] == ["x"]


def test_a_docstring_without_sections_is_all_text() -> None:
    assert parse_docstring("One.\n\n    Two: three.\n    ").text == "One.\n\nTwo: three."


def test_a_tool_that_knows_who_asks_cannot_be_cached_for_everybody() -> None:
    with pytest.raises(ValueError, match="asks for the context"):

        @tool(idempotent=True, cache_ttl=60)
        def whoami(context: ToolContext) -> str:
            """Tell who asks."""
            return context.user_id


def test_a_tool_that_does_not_may_be() -> None:
    @tool(idempotent=True, cache_ttl=60)
    def rate(currency: str) -> str:
        """Tell a rate.

        Args:
            currency: Of what.
        """
        return currency

    assert rate.cache_ttl == 60
