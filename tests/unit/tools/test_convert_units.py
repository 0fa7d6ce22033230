"""Units as people write them."""

import time

import pytest

from activities.tools.convert_units import convert_units
from perdure.tools import ToolError


@pytest.mark.parametrize(
    ("value", "source", "target", "result"),
    [
        (1, "miles", "km", 1.609344),
        (1, "Kilometers", "m", 1000),
        (1, "KM", "m", 1000),
        (100, "km/h", "mph", 62.1371192237),
        (1, "miles per hour", "m/s", 0.44704),
        (212, "°F", "celsius", 100),
        (100, "C", "F", 212),
        (0, "K", "degrees Celsius", -273.15),
        (5, "lbs", "kg", 2.26796185),
        (1, "tonnes", "kg", 1000),
        (6, "feet", "inches", 72),
        (1, "'", "cm", 30.48),
        (3, "square feet", "m²", 0.27870912),
        (1, "sq. ft", "m^2", 0.09290304),
        (1, "cubic metres", "litres", 1000),
        (1, "US gallons", "l", 3.785411784),
        (1, "imperial gallon", "l", 4.54609),
        (1, "fl oz", "ml", 29.5735295625),
        (1, "days", "min", 1440),
        (1, "kWh", "J", 3_600_000),
        (1, "kcal", "kJ", 4.184),
        (1, "psi", "kPa", 6.89475729317),
        (1, "GB", "MB", 1000),
        (1, "GiB", "MiB", 1024),
        (8, "Mb", "MB", 1),
        (8, "Mbps", "MB/s", 1),
        (1, "m/s^2", "m s^-2".replace(" ", "*"), 1),
    ],
)
def test_units_are_understood_as_people_write_them(value: float, source: str, target: str, result: float) -> None:
    assert convert_units(value, source, target)["value"] == result


def test_the_result_names_both_units_in_full() -> None:
    assert convert_units(2, "mi", "ft") == {
        "value": 10560.0,
        "unit": "foot",
        "converted_from": {"value": 2, "unit": "mile"},
    }


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("kg", "miles", "kilogram is mass and mile is length"),
        ("MB", "degrees", "megabyte is amount of data and degree is angle"),
        ("m^2", "liter", "area and liter is volume"),
        ("m*kg", "m", r"of the dimension \[length\] \* \[mass\]"),
    ],
)
def test_different_kinds_are_refused_naming_both(source: str, target: str, says: str) -> None:
    with pytest.raises(ToolError, match=says):
        convert_units(1, source, target)


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        ("kilometr", "unknown; did you mean .*kilomet"),
        ("qqqqqq", "unknown; write its full English name"),
        ("", "is no unit"),
        ("__class__", "cannot be read"),
        ("m/0", "cannot be read"),
    ],
)
def test_a_unit_that_is_none_is_told_with_the_nearest(unit: str, says: str) -> None:
    with pytest.raises(ToolError, match=says):
        convert_units(1, unit, "m")


@pytest.mark.parametrize(
    "unit", ["m**999999999", "m**9**9**9", "9**9**9", "m" * 10_000, "m*" * 29 + "m", "((m))", "m^-99"]
)
def test_a_unit_is_never_evaluated_as_an_expression(unit: str) -> None:
    convert_units(1, "km", "m")  # imports pint
    started = time.process_time()
    with pytest.raises(ToolError):
        convert_units(1, unit, "m")
    assert time.process_time() - started < 0.1


def test_nothing_is_colder_than_absolute_zero() -> None:
    with pytest.raises(ToolError, match="below absolute zero"):
        convert_units(-300, "C", "F")


def test_a_result_too_large_for_a_number_is_refused() -> None:
    with pytest.raises(ToolError, match="more nanometer than a number can hold"):
        convert_units(1e308, "km", "nm")
