"""From a query and a list of tools to the calls to make."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from perdure.domain.messages import ToolSpec
from perdure.models.offline.arguments import STRONG, Fit, fit
from perdure.models.offline.requests import Piece, split
from perdure.models.offline.schema import read_parameters
from perdure.models.offline.values import READ_LIMIT, Reading
from perdure.models.offline.words import STOPWORDS, content, stem, synonyms, tokens

NAME, CHOICE, SYNONYM, DESCRIPTION, PARAMETER = 3.0, 2.0, 0.7, 1.0, 1.5
"""Weights of a request's word by where the tool has it; a synonym counts the given part of the word itself."""
ENOUGH_WORDS = 1.0
"""Weight of words that must speak for a tool whose required values are all there."""
ENOUGH_FOR_REST = 1.5
"""The same when a value is only what was left of the request, which fits any request."""
ENOUGH_TO_ASK = 2.0
"""Weight of words from which on the planner asks for missing values instead of passing the request over."""
LEAST_COVERED = 0.5
"""Part of a request's meaningful words that the tool's vocabulary and values must account for."""

_SENTENCE = re.compile(r"[.!?](?:\s|$)|\n\s*\n")
# Asking what somebody remembers is no order to remember it.
_MEMORY = re.compile(
    r"\bwhat (?:do|did|can) you (?:still )?(?:know|remember|recall)(?: about| of)?\b|\bdo you (?:still )?remember\b",
    re.IGNORECASE,
)
_OPENING = "what when where which who how why is are do does can could please tell show give"
_OPENERS = frozenset(_OPENING.split())


@dataclass(frozen=True, slots=True)
class Planned:
    """One request and what is to be done about it.

    Attributes:
        tool: The tool that fits; None when none does.
        arguments: For the call.
        missing: Required values that the request does not give: then there is no call.
    """

    request: str
    tool: str | None = None
    arguments: dict[str, Any] | None = None
    missing: tuple[str, ...] = ()

    @property
    def callable(self) -> bool:
        return self.tool is not None and not self.missing


class _Candidate:
    """A tool, its parameters and the weight of each word of its vocabulary."""

    def __init__(self, spec: ToolSpec) -> None:
        self.spec = spec
        self.parameters = read_parameters(spec)
        self.weights: dict[str, float] = {}
        # The first sentence says what the tool is for; the rest is advice, full of words of other tools.
        self._add(_SENTENCE.split(spec.description.strip(), 1)[0][:READ_LIMIT], DESCRIPTION)
        for parameter in self.parameters:
            self._add(parameter.name, PARAMETER)
            self._add(" ".join(map(str, parameter.choices)), CHOICE)
        self._add(spec.name, NAME)

    def weight(self, word: str) -> float:
        """How much a word's stem speaks for this tool."""
        related = max((self.weights.get(one, 0.0) for one in synonyms(word)), default=0.0)
        return max(self.weights.get(word, 0.0), SYNONYM * related)

    def covers(self, word: str) -> bool:
        """Whether a word's stem is in this tool's vocabulary."""
        return self.weight(word) > 0

    def _add(self, text: str, weight: float) -> None:
        for one in content(text):
            self.weights[one] = max(weight, self.weights.get(one, 0.0))


@dataclass(frozen=True, slots=True)
class _Match:
    candidate: _Candidate
    fit: Fit
    words: float
    covered: float

    @property
    def score(self) -> float:
        return self.words + self.fit.evidence - 2.0 * len(self.fit.missing)

    @property
    def enough(self) -> bool:
        if self.fit.missing:
            return self.words >= ENOUGH_TO_ASK and self.covered >= LEAST_COVERED
        needed = ENOUGH_FOR_REST if self.fit.free else ENOUGH_WORDS
        return self.fit.evidence >= STRONG or (self.words >= needed and self.covered >= LEAST_COVERED)


def plan(query: str, tools: Sequence[ToolSpec]) -> list[Planned]:
    """Decide on each request of a query, in its order."""
    candidates = [_Candidate(tool) for tool in tools]
    texts: list[str] = []
    matches: list[_Match | None] = []
    for piece in split(query):
        match = _choose(piece.text, candidates)
        previous = matches[-1] if matches else None
        if not texts or not piece.link or _stands_alone(piece, match, previous):
            texts.append(piece.text)
            matches.append(match)
        elif previous and (same := _continued(piece.text, previous)):
            texts.append(piece.text)
            matches.append(same)
        else:
            texts[-1] += piece.link + piece.text
            matches[-1] = _choose(texts[-1], candidates)
    planned = [_planned(text, match) for text, match in zip(texts, matches, strict=True)]
    return [one for one in planned if one.tool or _asks(one.request)] or planned[:1]


def _choose(text: str, candidates: Sequence[_Candidate]) -> _Match | None:
    reading = Reading(_MEMORY.sub("recall", text))
    matches = [match for match in (_match(reading, one) for one in candidates) if match.enough]
    ready = [match for match in matches if not match.fit.missing]
    return max(ready or matches, key=lambda match: match.score, default=None)


def _match(reading: Reading, candidate: _Candidate) -> _Match:
    found = fit(candidate.parameters, reading, candidate.covers)
    said = content(reading.plain)
    words = sum(candidate.weight(one) for one in said)
    values = {stem(word) for word in found.words}
    left = [one for one in said if not candidate.covers(one) and one not in values and not one.isdigit()]
    return _Match(candidate, found, words, 1 - len(left) / len(said) if said else 1.0)


def _stands_alone(piece: Piece, match: _Match | None, previous: _Match | None) -> bool:
    """Whether what follows a comma or an "and" is a request of its own."""
    first = next(iter(tokens(piece.text)), "")
    opens = first in _OPENERS or (match is not None and match.candidate.weight(stem(first)) >= NAME * SYNONYM)
    if match is None or match.fit.missing:
        # "I fly from Oslo to Lisbon, book it": what names a tool but gives it nothing completes what no tool fitted.
        return first in _OPENERS or (opens and match is not None and bool(match.fit.arguments or previous))
    return opens or match.fit.evidence >= STRONG or not (previous and previous.fit.free)


def _continued(text: str, previous: _Match) -> _Match | None:
    """The previous tool once more, when a piece is nothing but values for it, as in "in Paris and New York".

    What the piece does not give, such as the text in "translate this to French and German", stays as it was.
    """
    match = _match(Reading(text), previous.candidate)
    if not match.fit.arguments or match.fit.free or previous.fit.missing or match.covered < 1.0:
        return None
    arguments = {**previous.fit.arguments, **match.fit.arguments}
    return replace(match, fit=replace(match.fit, arguments=arguments, missing={}))


def _planned(text: str, match: _Match | None) -> Planned:
    if match is None:
        return Planned(text)
    return Planned(text, match.candidate.spec.name, match.fit.arguments, tuple(match.fit.missing.values()))


def _asks(text: str) -> bool:
    """Whether a piece that no tool fits asks for anything: not "thanks" and not the line above a list."""
    return not text.endswith(":") and any(word not in STOPWORDS for word in tokens(text))
