"""Conversion between units as people write them, over pint's table of units.

pint evaluates a unit as an arithmetic expression, and "m**9**9**9" would keep it busy for ever. So it never sees what
the model wrote: the text is taken apart here into names and small exponents, and pint only looks the names up.
"""

import functools
import math
import re
from difflib import get_close_matches
from typing import Any

from perdure.tools.tool import ToolError

MAX_CHARACTERS = 60
MAX_FACTORS = 6
SIGNIFICANT_DIGITS = 12
"""Fewer than a float carries, so that a factor's noise does not show."""

_FACTOR = re.compile(
    r"(?P<name>[^\W\d_](?:[^\W\d_]|[ _])*|[°º][ ]?[CFKcfk]|[°º]|['\"%]|[Ωµμ][^\W\d_]*)(?P<exponent>\^?-?[1-9])?"
)
_SUPERSCRIPTS = str.maketrans("²³⁻¹", "23-1")

ALIASES = {
    "c": "degree_Celsius", "°c": "degree_Celsius", "deg c": "degree_Celsius", "degree c": "degree_Celsius",
    "degrees c": "degree_Celsius", "degc": "degree_Celsius", "centigrade": "degree_Celsius",
    "degree celsius": "degree_Celsius", "degrees celsius": "degree_Celsius",
    "f": "degree_Fahrenheit", "°f": "degree_Fahrenheit", "deg f": "degree_Fahrenheit", "degree f": "degree_Fahrenheit",
    "degrees f": "degree_Fahrenheit", "degf": "degree_Fahrenheit",
    "degree fahrenheit": "degree_Fahrenheit", "degrees fahrenheit": "degree_Fahrenheit",
    "k": "kelvin", "°k": "kelvin", "degrees kelvin": "kelvin", "kelvins": "kelvin",
    "°": "degree", "'": "foot", '"': "inch", "%": "percent",
    "kph": "kilometer_per_hour", "kmh": "kilometer_per_hour", "kmph": "kilometer_per_hour", "kn": "knot",
    "lbs": "pound", "troy oz": "troy_ounce", "st": "stone", "mcg": "microgram",
    "metric ton": "tonne", "metric tons": "tonne",
    "ton": "short_ton", "tons": "short_ton",
    "sqft": "square foot", "sqm": "square meter", "sqkm": "square kilometer", "sqmi": "square mile", "cc": "milliliter",
    "fl oz": "fluid_ounce", "floz": "fluid_ounce", "tbsp": "tablespoon", "tsp": "teaspoon", "gal": "gallon",
    "mins": "minute", "secs": "second", "hrs": "hour", "yrs": "year", "mo": "month", "wk": "week",
    "cal": "calorie", "Cal": "kilocalorie", "kcals": "kilocalorie", "btu": "Btu", "BTU": "Btu",
    "b": "byte", "kb": "kilobyte", "KB": "kilobyte", "mb": "megabyte", "gb": "gigabyte", "tb": "terabyte",
    "pb": "petabyte", "kib": "kibibyte", "mib": "mebibyte", "gib": "gibibyte", "tib": "tebibyte",
    "Kb": "kilobit", "Mb": "megabit", "Gb": "gigabit", "Tb": "terabit",
}  # fmt: skip
"""What people write where pint knows nothing or something else (its C is the coulomb, its b the barn, its c light)."""

_KINDS = {
    "meter": "length", "kilogram": "mass", "kelvin": "temperature", "second": "time", "liter": "volume",
    "meter ** 2": "area", "meter / second": "speed", "bit": "amount of data", "joule": "energy",
    "pascal": "pressure", "watt": "power", "newton": "force", "hertz": "frequency", "radian": "angle",
    "bit / second": "data rate", "ampere": "electric current", "volt": "voltage", "percent": "ratio",
}  # fmt: skip


def convert(value: float, source: str, target: str) -> tuple[float, str, str]:
    """Convert a value.

    Returns:
        The converted value and the full names of both units as they were understood.

    Raises:
        ToolError: A unit is unknown, or the two measure different things.
    """
    import pint  # half a second to import, and few conversations convert anything

    before, after = _unit(source), _unit(target)
    # Not dimensions: to pint, data and angles are both plain numbers, yet bytes are no degrees.
    if _roots(before) != _roots(after):
        raise ToolError(f"{before} is {_kind(before)} and {after} is {_kind(after)}; give two units of the same kind.")
    try:
        quantity = _registry().Quantity(value, before)
        if _kind(before) == "temperature" and quantity.to("kelvin").magnitude < 0:
            raise ToolError(f"{value:g} {before} is below absolute zero (-273.15 degrees Celsius).")
        converted = float(quantity.to(after).magnitude)
    except (pint.PintError, OverflowError) as error:
        raise ToolError(f"{value:g} {before} cannot be converted to {after}: {str(error).rstrip('.')}.") from error
    if not math.isfinite(converted):
        raise ToolError(f"{value:g} {before} is more {after} than a number can hold.")
    return float(f"{converted:.{SIGNIFICANT_DIGITS}g}"), str(before), str(after)


@functools.cache
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=False)


def _unit(text: str) -> Any:
    # "sq. ft" and "U.S. gallons"; a plain gallon is the US one to pint.
    source = text.strip().translate(_SUPERSCRIPTS).replace(".", "")
    if not source or len(source) > MAX_CHARACTERS:
        raise ToolError(f"{text[:MAX_CHARACTERS]!r} is no unit; write one such as 'km', 'miles per hour' or 'm^2'.")
    unit = _registry().Unit("")
    sign = 1
    factors = re.split(r"\s*([*/·×]|\bper\b)\s*", source.replace("**", "^"))
    if len(factors) > 2 * MAX_FACTORS:
        raise ToolError(f"The unit {text!r} has more than {MAX_FACTORS} factors; write a simpler one.")
    for factor in factors:
        if factor in ("/", "per"):
            sign = -1
        elif factor in ("*", "·", "×"):
            sign = 1
        else:
            unit *= _factor(factor, text) ** sign
    return unit


def _factor(factor: str, whole: str) -> Any:
    if factor == "1":
        return _registry().Unit("")
    found = _FACTOR.fullmatch(factor)
    if found is None:
        raise ToolError(f"The unit {whole!r} cannot be read; write one such as 'km', 'miles per hour' or 'm^2'.")
    exponent = int((found["exponent"] or "1").removeprefix("^"))
    words = " ".join(found["name"].replace("_", " ").replace("gramme", "gram").split())
    words = words[3:] if words.lower().startswith("us ") else words
    words = ALIASES.get(words) or ALIASES.get(words.lower()) or words
    for prefix, power in (("square ", 2), ("sq ", 2), ("cubic ", 3), ("cu ", 3)):
        if words.lower().startswith(prefix):
            return _named(words[len(prefix) :]) ** (power * exponent)
    return _named(words) ** exponent


def _named(name: str) -> Any:
    import pint

    registry = _registry()
    # As written first, then in lower case: "Miles" and "KM" are meant, but "MB" and "Mb" differ.
    for form in dict.fromkeys((name, name.lower())):
        try:
            return registry.Unit(registry.get_name(form.replace(" ", "_")))
        except pint.UndefinedUnitError:
            continue
    near = get_close_matches(name.lower(), {*ALIASES, *dir(registry)}, 3)
    hint = f"did you mean {', '.join(near)}?" if near else "write its full English name, such as 'kilometer'"
    raise ToolError(f"The unit {name!r} is unknown; {hint}")


def _roots(unit: Any) -> Any:
    return _registry().get_root_units(unit)[1]


def _kind(unit: Any) -> str:
    for exemplar, kind in _KINDS.items():
        if _roots(_registry().Unit(exemplar)) == _roots(unit):
            return kind
    return f"of the dimension {unit.dimensionality}"
