"""Conversion between units of measurement."""

from typing import Any

from perdure.tools import tool
from perdure.tools.shipped.units import convert


@tool(idempotent=True, timeout=15.0)
def convert_units(value: float, from_unit: str, to_unit: str) -> dict[str, Any]:
    """Convert a value between units: length, mass, temperature, volume, area, speed, time, data, energy, pressure, etc.

    Units are written as people do: "miles", "km/h", "°F", "square feet", "m^2", "lbs", "kWh", "psi". Gallons, pints,
    cups, ounces and tons are the US ones unless called "imperial_gallon" and so on, or "tonne". kB, MB and GB are
    powers of 1000, KiB, MiB and GiB powers of 1024; "Mb" is megabit. The result names both units in full: check that
    they are the ones you meant.

    Args:
        value: How many of the first unit.
        from_unit: The unit the value is in.
        to_unit: The unit wanted, of the same kind.
    """
    converted, source, target = convert(value, from_unit, to_unit)
    return {"value": converted, "unit": target, "converted_from": {"value": value, "unit": source}}
