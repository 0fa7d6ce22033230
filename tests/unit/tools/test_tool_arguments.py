"""What a model wrote as arguments, and what it is told when they do not fit."""

import datetime as dt
import json
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from perdure.tools import ToolError, tool
from perdure.tools.arguments import MAX_CHARACTERS, read_arguments


class Item(BaseModel):
    name: str
    count: int = 1


@tool
def order(
    customer: str,
    items: list[Item],
    size: Literal["s", "m"] = "m",
    day: dt.date | None = None,
    weight: Annotated[float, Field(gt=0)] = 1.0,
    mixed: int | bool = 0,
) -> str:
    """Order things."""
    return customer


def refusal(arguments: str) -> str:
    with pytest.raises(ToolError) as refused:
        read_arguments(order, arguments)
    return str(refused.value)


def with_items(**more: Any) -> str:
    return json.dumps({"customer": "c", "items": [], **more})


def test_arguments_arrive_as_the_annotated_types() -> None:
    read = read_arguments(order, '{"customer":"c","items":[{"name":"n"}],"day":"2026-01-31","weight":2}')
    assert read == {"customer": "c", "items": [Item(name="n")], "day": dt.date(2026, 1, 31), "weight": 2}


def test_parameters_left_out_stay_out_so_that_the_defaults_of_the_function_apply() -> None:
    assert set(read_arguments(order, with_items())) == {"customer", "items"}


@pytest.mark.parametrize("blank", ["", "  \n", "{}"])
def test_blank_arguments_are_no_arguments(blank: str) -> None:
    @tool
    def nothing() -> None:
        """Take nothing."""

    assert read_arguments(nothing, blank) == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ('{"customer":', "not valid JSON: Expecting value at line 1 column 13"),
        ("[1]", "not a JSON object but an array"),
        ("null", "not a JSON object but null"),
        ('"x"', "not a JSON object but a string"),
        ('{"a":1,"a":2}', 'the key "a" is written twice'),
        ('{"weight":NaN}', "NaN is no JSON number"),
        ('{"weight":-Infinity}', "-Infinity is no JSON number"),
        ("[" * 100_000, "nested deeper than 64 levels"),
        ('{"a":' + "[" * 80 + "]" * 80 + "}", "nested deeper than 64 levels"),
        ('{"customer":"\\ud800"}', r"\ud800 is half of a character"),
        ('{"\\udc00":1}', r"\udc00 is half of a character"),
        ('{"customer":"\ud800"}', r"\ud800 is half of a character"),
        ('{"mixed":' + "9" * 5000 + "}", "not valid JSON"),
        (" " * 2 + "1" * MAX_CHARACTERS + "1", "send less"),
    ],
)
def test_text_that_is_no_proper_json_object_is_refused(arguments: str, says: str) -> None:
    assert says in refusal(arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("{}", "customer is missing; items is missing"),
        (with_items(customer=5), "customer: input should be a valid string, not 5"),
        (with_items(custmer="x"), "custmer is no parameter (did you mean customer?)"),
        (with_items(zzz=1), "zzz is no parameter (there are: customer, items, size, day, weight, mixed)"),
        (with_items(items=[{"name": "n"}, {"name": "n", "count": "2"}]), "items[1].count: input should be a valid"),
        (with_items(items=[{}]), "items[0].name is missing"),
        (with_items(size="xl"), "size: input should be 's' or 'm', not \"xl\""),
        (with_items(weight="5"), "weight: input should be a valid number"),
        (with_items(weight=0), "weight: input should be greater than 0, not 0"),
        (with_items(day="soon"), "day: input should be a valid date"),
        (with_items(items=[{"count": True, "name": "n"}]), "items[0].count"),
        ('{"customer":"c","items":[],"weight":1e999}', "weight: input should be a finite number"),
    ],
)
def test_each_problem_is_told_with_its_place(arguments: str, says: str) -> None:
    assert says in refusal(arguments)


def test_a_long_list_of_problems_is_cut() -> None:
    assert refusal(with_items(items=[{}] * 100)).endswith("; and 92 more.")


def test_a_long_value_is_not_repeated_in_full() -> None:
    assert len(refusal(with_items(size="x" * 10_000))) < 300


# JSON Schema takes 1.0 for an integer; we do not, and models do not write it.
Schema = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, number: isinstance(number, int) and not isinstance(number, bool)
    ),
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.floats(-3, 9)
    | st.sampled_from(["s", "m", "name", "2026-01-31"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "count"]), inner),
    max_leaves=4,
)


@given(
    st.fixed_dictionaries(
        {"customer": st.text() | json_values, "items": st.lists(json_values, max_size=2) | json_values},
        optional=dict.fromkeys(("size", "weight", "mixed", "unknown"), json_values),
    )
)
def test_validation_accepts_exactly_what_the_schema_allows(value: dict[str, Any]) -> None:
    told = Schema(order.parameters).is_valid(value)
    try:
        read_arguments(order, json.dumps(value))
    except ToolError:
        assert not told
    else:
        assert told
