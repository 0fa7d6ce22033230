"""Reading one parameter's value out of a request, for each kind of parameter."""

import re
from collections.abc import Callable, Sequence

from perdure.models.offline.expressions import find_expression
from perdure.models.offline.schema import Kind, Parameter
from perdure.models.offline.values import Number, Reading
from perdure.models.offline.words import STOPWORDS, stem, tokens

STRONG, WEAK = 3.0, 0.5
"""How much a value speaks for a tool: an expression names its tool as well as a verb does, a bare number hardly."""

_RANGE = re.compile(r"\d{1,2}[-/]\d{1,2}|\d{4}-\d{4}")

type Found = tuple[object, str, float] | None
"""A value, the words it was made of, and what it says for the tool."""


def _first(values: Sequence[str], evidence: float) -> Found:
    return (values[0], values[0], evidence) if values else None


def _read_zone(parameter: Parameter, reading: Reading) -> Found:
    return (reading.zone[1], reading.zone[0], WEAK) if reading.zone else None


def _read_expression(parameter: Parameter, reading: Reading) -> Found:
    found = find_expression(reading)
    if found is None:
        return None
    # A bare 5-10 or 24/7 is arithmetic only when the other words say so.
    return found, reading.plain, WEAK if _RANGE.fullmatch(found) else STRONG


def _read_place(parameter: Parameter, reading: Reading) -> Found:
    if parameter.role and any(reading.from_to):
        return _read_unit(parameter, reading)
    return _first(reading.places, WEAK)


def _read_unit(parameter: Parameter, reading: Reading) -> Found:
    start, end = reading.from_to
    value = start if parameter.role == "from" else end if parameter.role == "to" else None
    return (value, value, WEAK) if value else None


def _read_text(parameter: Parameter, reading: Reading) -> Found:
    return _read_unit(parameter, reading) if parameter.role else None


def _read_choice(parameter: Parameter, reading: Reading) -> Found:
    said = {stem(word) for word in tokens(reading.plain)}
    for choice in parameter.choices:
        words = tokens(str(choice))
        if words and all(stem(word) in said for word in words):
            return choice, str(choice), 1.0
    return None


def _read_boolean(parameter: Parameter, reading: Reading) -> Found:
    words = tokens(reading.plain)
    for position, word in enumerate(words):
        if word not in STOPWORDS and stem(word) in parameter.stems:
            return not {"no", "not", "without", "t"} & set(words[max(0, position - 2) : position]), word, WEAK
    return None


def _read_list(parameter: Parameter, reading: Reading) -> Found:
    item = parameter.parts[0]
    match item.kind:
        case "number":
            numbers = [number.value for number in reading.numbers if suits(number, item)]
            return (numbers, " ".join(map(str, numbers)), 1.0) if numbers else None
        case "choice":
            said = {stem(word) for word in tokens(reading.plain)}
            chosen = [one for one in item.choices if {stem(word) for word in tokens(str(one))} <= said and str(one)]
            return (chosen, " ".join(map(str, chosen)), 1.0) if chosen else None
        case "url" | "email" | "date":
            values = {"url": reading.urls, "email": reading.emails, "date": reading.dates}[item.kind]
            return (values, " ".join(values), STRONG) if values else None
        case "text" | "place" | "unit" | "expression" | "zone":
            listed = reading.plain.partition(": ")[2]
            texts = reading.quotations or [text.strip() for text in re.split(r",| and ", listed) if text.strip()]
            return (texts, " ".join(texts), 1.0) if texts else None
        case _:
            return None


def suits(number: Number, parameter: Parameter) -> bool:
    return not parameter.whole or isinstance(number.value, int)


READERS: dict[Kind, Callable[[Parameter, Reading], Found]] = {
    "number": lambda parameter, reading: None,  # each goes to one parameter only: see `arguments`
    "boolean": _read_boolean,
    "list": _read_list,
    "object": lambda parameter, reading: None,  # made of other values: see `arguments`
    "choice": _read_choice,
    "url": lambda parameter, reading: _first(reading.urls, STRONG),
    "email": lambda parameter, reading: _first(reading.emails, 1.0),
    "date": lambda parameter, reading: _first(reading.dates, WEAK),
    "zone": _read_zone,
    "expression": _read_expression,
    "unit": _read_unit,
    "place": _read_place,
    "text": _read_text,
}
