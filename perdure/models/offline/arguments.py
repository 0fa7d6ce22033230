"""Fitting the values of a request to a tool's parameters."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from perdure.models.offline.readers import READERS, STRONG, WEAK, Found, suits
from perdure.models.offline.schema import Parameter
from perdure.models.offline.values import NUMBER, Reading, as_number
from perdure.models.offline.words import STOPWORDS, stem, synonyms, tokens

_WITHIN = frozenset({"in", "from", "across", "within"})

type Covered = Callable[[str], bool]
"""Whether a stem belongs to the tool's own vocabulary."""


@dataclass(slots=True)
class Fit:
    """What a request gives a tool.

    Attributes:
        missing: Parameters that keep the tool from being called, each with what to say of it.
        evidence: How strongly the values found speak for this tool.
        words: The words that went into values.
        free: Whether a value is simply what was left of the request.
    """

    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    missing: dict[str, str] = field(default_factory=dict[str, str])
    evidence: float = 0.0
    words: list[str] = field(default_factory=list[str])
    free: bool = False

    def put(self, name: str, value: object, words: str, evidence: float) -> None:
        self.arguments[name] = value
        self.words += tokens(words)
        self.evidence += evidence


def fit(parameters: Sequence[Parameter], reading: Reading, covered: Covered) -> Fit:
    """Look for a value for each parameter; an optional one without a value is left out."""
    result = Fit()
    for parameter in parameters:
        _named(parameter, reading, result)
    _conversion(parameters, reading, result)
    _numbers(parameters, reading, result)
    quotations = list(reading.quotations)
    for parameter in parameters:
        if parameter.name not in result.arguments:
            if parameter.kind == "text" and quotations:
                quotation = quotations.pop(0)
                result.put(parameter.name, quotation, quotation, 1.0)
            else:
                _other(parameter, reading, result)
    # What is left can be one text, the first that is still wanted.
    unread = (one for one in parameters if one.kind == "text" and one.required and one.name not in result.arguments)
    if (first := next(unread, None)) and (rest := _rest(reading, result, covered)):
        result.put(first.name, rest, rest, 0.0)
        result.free = True
    for one in parameters:
        if one.required and one.name not in result.arguments:
            result.missing.setdefault(one.name, one.name)
    return result


def _named(parameter: Parameter, reading: Reading, result: Fit) -> None:
    """Take `name=value` or `name: value` at its word."""
    name = re.escape(parameter.name).replace("_", "[_ ]")
    # An unquoted text after a colon has no clear end.
    sign = "=" if parameter.kind == "text" else "(?:=|:(?!//))"
    found = re.search(
        rf"(?<!\w){name}\s?(?:[=:]\s?\"([^\"]*)\"|[=:]\s?'([^']*)'|{sign}\s?([^\s,;\"'“]+))",
        reading.text,
        re.IGNORECASE,
    )
    if found is None or parameter.kind in {"list", "object", "choice"}:
        return
    text = next(group for group in found.groups() if group is not None)
    if parameter.kind == "number":
        if re.fullmatch(NUMBER, text):
            result.put(parameter.name, as_number(text), found[0], 1.0)
    elif parameter.kind == "boolean":
        result.put(parameter.name, text.lower() in {"true", "yes", "on", "1"}, found[0], 1.0)
    else:
        result.put(parameter.name, text, found[0], 1.0)


def _conversion(parameters: Sequence[Parameter], reading: Reading, result: Fit) -> None:
    """Fill an amount and the two ends of "42 km to miles", for a tool that asks for exactly these."""
    ends = {one.role: one for one in parameters if one.role and one.kind in {"unit", "text"}}
    amount = next((one for one in parameters if one.kind == "number" and one.required), None)
    asked = reading.conversion
    if asked is None or amount is None or set(ends) != {"from", "to"} or result.arguments:
        return
    evidence = STRONG if asked.known else WEAK
    result.put(amount.name, int(asked.amount) if amount.whole else asked.amount, str(asked.amount), evidence)
    result.put(ends["from"].name, asked.source, asked.source, 0.0)
    result.put(ends["to"].name, asked.target, asked.target, 0.0)


def _numbers(parameters: Sequence[Parameter], reading: Reading, result: Fit) -> None:
    """Give each number to the parameter whose name stands beside it, the others in order to what is required."""
    open_ones = [one for one in parameters if one.kind == "number" and one.name not in result.arguments]
    numbers = [] if not open_ones else list(reading.numbers)
    for parameter in open_ones:
        wanted = frozenset[str]().union(*map(synonyms, parameter.stems))
        for number in numbers:
            if number.near & wanted and suits(number, parameter):
                numbers.remove(number)
                result.put(parameter.name, number.value, f"{number.value} {' '.join(number.near)}", 1.0)
                break
    for parameter in open_ones:
        if parameter.required and parameter.name not in result.arguments:
            number = next((number for number in numbers if suits(number, parameter)), None)
            if number is not None:
                numbers.remove(number)
                result.put(parameter.name, number.value, str(number.value), WEAK)


def _other(parameter: Parameter, reading: Reading, result: Fit) -> None:
    if parameter.kind == "zone" and reading.zone is None and (places := reading.places):
        # Without it the tool would answer for its default place: an answer to another question.
        result.missing[parameter.name] = f"{parameter.name} (no known time zone for “{places[0]}”)"
        return
    reader = _read_object if parameter.kind == "object" else READERS[parameter.kind]
    found = reader(parameter, reading)
    if found is not None:
        value, words, evidence = found
        result.put(parameter.name, value, words, evidence)


def _read_object(parameter: Parameter, reading: Reading) -> Found:
    start = reading.text.find("{")
    if start >= 0:
        try:
            value, end = json.JSONDecoder().raw_decode(reading.text, start)
            json.dumps(value, allow_nan=False)  # NaN and infinity are read but are no JSON
        except (ValueError, RecursionError):
            return None
        return value, reading.text[start:end], 1.0
    inner = fit(parameter.parts, reading, lambda stem: False) if parameter.parts else Fit()
    filled = inner.arguments and not inner.missing and not inner.free
    return (inner.arguments, " ".join(inner.words), inner.evidence) if filled else None


def _rest(reading: Reading, result: Fit, covered: Covered) -> str:
    """What a request is about: its words without those at either end that only name the tool or ask for it."""
    before, colon, after = reading.plain.partition(": ")
    words = (after if colon and any(covered(stem(word)) for word in tokens(before)) else reading.plain).split()
    used = set(result.words)

    def idle(word: str) -> bool:
        parts = tokens(word)
        return all(part in STOPWORDS or part in used or covered(stem(part)) for part in parts)

    while words and idle(words[0]):
        words.pop(0)
    while words and all(part in STOPWORDS or part in used for part in tokens(words[-1])):
        words.pop()
    # "... in my documents" names the tool, not the subject.
    end = next((at for at in range(len(words) - 1, 0, -1) if not idle(words[at]) and words[at] not in _WITHIN), 0) + 1
    if _WITHIN & set(words[end:]):
        words = words[:end]
    return " ".join(words).strip(" ?!.,;:")
