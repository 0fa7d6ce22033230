"""Finding values in the words of one request."""

import re
from dataclasses import dataclass
from functools import cached_property

from perdure.models.offline.requests import QUOTED, URL
from perdure.models.offline.words import stem, tokens
from perdure.models.offline.zones import find_zone

READ_LIMIT = 2000
"""Characters of a request that are searched for values; quotations are taken whole."""

_QUOTED = re.compile(QUOTED)
_URL = re.compile(URL)
_DOMAIN = re.compile(r"(?<![\w.@-])(?:[\w-]{1,63}\.){1,5}(?:com|org|net|io|dev|edu|gov|info|eu|uk|de)\b(?:/[\w./-]*)?")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_DATE = re.compile(
    r"\b\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?|\b\d{1,2}[/.]\d{1,2}[/.]\d{4}\b"
    r"|\b(?:today|tomorrow|yesterday|(?:next |this )?(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b",
    re.IGNORECASE,
)
# Longer ones are identifiers; a float could not hold them.
NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.\d{1,15})?(?!\d)"
_NUMBER = re.compile(rf"(?<![\w.,]){NUMBER}(?!\w*-\w)")
_COUNTING = "zero one two three four five six seven eight nine ten eleven twelve"
NUMBER_WORDS = {word: value for value, word in enumerate(_COUNTING.split())}
_CAPITALISED = r"[A-ZÀ-Þ][\w’'.-]*(?: (?:de |la |of )?[A-ZÀ-Þ][\w’'.-]*){0,3}"
_PLACE_AFTER = re.compile(rf"\b(?:in|at|for|near|of) (?:the )?({_CAPITALISED})")
_PLACE_ALONE = re.compile(_CAPITALISED)
_PLACE_LOWER = re.compile(r"\b(?:in|at|for|near) (?:the )?([^\W\d_]+(?: [^\W\d_]+)?)$")
_ENDS = r"(?= (?:on|at|by|for|with|in|using|to|into|please|today|tomorrow|next|this|\d)|[,;?!]|\.?$)"
_PHRASE = r"[^\s,;?!]+(?: [^\s,;?!]+){0,3}?"
_FROM = re.compile(rf"\bfrom ({_PHRASE}){_ENDS}", re.IGNORECASE)
_TO = re.compile(rf"\b(?:to|into) ({_PHRASE}){_ENDS}", re.IGNORECASE)
_UNIT = r"(?:degrees? |° ?)?((?:(?:square|cubic|nautical|fluid|metric|light) )?[^\W\d_]+[²³]?(?:(?: per |/)[^\W\d_]+)?)"
_AMOUNT_TO = re.compile(
    rf"(?<![\w.,])({NUMBER}|an?\b|one\b) ?{_UNIT} (?:to|into|in|as|(?:equals?|is|are|makes?) how many) {_UNIT}",
    re.IGNORECASE,
)
_HOW_MANY = re.compile(
    rf"\bhow (?:many|much) {_UNIT} (?:(?:are|is|do|does|make|makes|equals?|there|in|you|get|from|i) )+"
    rf"({NUMBER}|an?\b|one\b) ?{_UNIT}",
    re.IGNORECASE,
)
_UNIT_WORDS = """
mm cm m km millimeter centimeter meter metre kilometer kilometre inch inches foot feet ft yard mile mi
mg g kg milligram gram kilogram tonne ton ounce oz pound lb lbs stone
ml l liter litre milliliter gallon pint quart cup tablespoon teaspoon
c f k celsius fahrenheit kelvin second minute hour day week month year
mph kph kmh knot pascal psi bar joule calorie watt kilowatt horsepower hectare acre
byte kilobyte megabyte gigabyte terabyte kb mb gb tb square cubic
"""
_KNOWN_UNITS = frozenset(stem(word) for word in _UNIT_WORDS.split())


@dataclass(frozen=True, slots=True)
class Number:
    """A number with the stems of the few words before and after it."""

    value: float
    near: frozenset[str]


@dataclass(frozen=True, slots=True)
class Conversion:
    """An amount of one thing asked for in another. `known`: at least one of the two is a unit of measurement."""

    amount: float
    source: str
    target: str
    known: bool


class Reading:
    """One request, with every sort of value found in it on demand."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def plain(self) -> str:
        """The request's own words: quotations and URLs blanked out, spaces single."""
        return " ".join(_URL.sub(" ", _QUOTED.sub(" ", self.text))[:READ_LIMIT].split())

    @cached_property
    def quotations(self) -> list[str]:
        return [match[0].strip("`") if match[0][0] == "`" else match[0][1:-1] for match in _QUOTED.finditer(self.text)]

    @cached_property
    def urls(self) -> list[str]:
        full = [match[0].rstrip(".,;:!?)]}") for match in _URL.finditer(self.text)]
        return full or [f"https://{domain}" for domain in _DOMAIN.findall(self.plain)]

    @cached_property
    def emails(self) -> list[str]:
        return _EMAIL.findall(self.plain)

    @cached_property
    def dates(self) -> list[str]:
        return _DATE.findall(self.plain)

    @cached_property
    def numbers(self) -> list[Number]:
        text = _EMAIL.sub(" ", _DATE.sub(" ", self.plain))
        found: list[Number] = []
        for match in _NUMBER.finditer(text):
            near = [
                *tokens(text[max(0, match.start() - 30) : match.start()])[-2:],
                *tokens(text[match.end() :][:20])[:1],
            ]
            if text[max(0, match.start() - 1) : match.start()] in {"$", "€", "£"}:
                near.append("amount")
            found.append(Number(as_number(match[0]), frozenset(stem(word) for word in near)))
        words = tokens(text)
        for position, word in enumerate(words):
            if word in NUMBER_WORDS:
                near = words[max(0, position - 2) : position + 2]
                found.append(Number(NUMBER_WORDS[word], frozenset(stem(word) for word in near)))
        return found

    @cached_property
    def zone(self) -> tuple[str, str] | None:
        return find_zone(self.plain)

    @cached_property
    def places(self) -> list[str]:
        after = _PLACE_AFTER.findall(self.plain)
        alone = [match[0] for match in _PLACE_ALONE.finditer(self.plain) if match.start()]
        whole = _PLACE_ALONE.fullmatch(self.plain.rstrip("?.!"))
        lower = _PLACE_LOWER.findall(self.plain.rstrip("?.! "))
        return [place.rstrip(".'’") for place in (after or alone or ([whole[0]] if whole else lower))]

    @cached_property
    def from_to(self) -> tuple[str | None, str | None]:
        """The two ends of "from X to Y", each None when it is not said."""
        start = _FROM.search(self.plain)
        # Without a "from" the last "to" is meant: "I want to translate this to French".
        ends = _TO.findall(self.plain, start.end() if start else 0)
        return start[1] if start else None, (ends[0] if start else ends[-1]) if ends else None

    @cached_property
    def conversion(self) -> Conversion | None:
        if asked := _HOW_MANY.search(self.plain):
            amount, source, target = asked[2], asked[3], asked[1]
        elif given := _AMOUNT_TO.search(self.plain):
            amount, source, target = given[1], given[2], given[3]
        else:
            return None
        known = any(stem(tokens(unit)[0]) in _KNOWN_UNITS for unit in (source, target))
        return Conversion(1 if amount.isalpha() else as_number(amount), source, target, known)


def as_number(text: str) -> float:
    """The number, whole when it is written without a fraction."""
    digits = text.replace(",", "")
    return float(digits) if "." in digits else int(digits)
