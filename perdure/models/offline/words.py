"""What the planner knows of English: words that say nothing, and words that mean the same."""

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SUFFIXES = ("ation", "ator", "ate", "ion", "ing", "ment", "ed", "er", "or", "e")

_STOPWORDS = """
a about also all am an and any are as at be been being but by can could current did do does done each every for from
get give had has have hello help her here hey hi him his how i if in into is it its just kindly know last let like
made make many may me mine more much must my need next now of on one or our out over please put run say says see shall
should show so some tell than thank thanks that the their them then there these they thing this those to tool up us use
using value want was we well were what whats when where which who whose why will with would you your yours s t m re ll
ve d o two three finally lastly firstly secondly
"""

# Each line: words that ask for the same thing.
_SYNONYMS = """
time clock oclock date day
calculate compute evaluate sum plus minus multiply divide subtract percent percentage square cube root power math
convert conversion exchange change unit measurement
search find look lookup query mention
document documentation docs doc manual handbook notes guide
fetch download open visit load retrieve page website site url link web browse
count number length statistics stats
weather forecast temperature rain
send mail email message
character letter char
create add new make schedule
delete remove cancel erase
book reserve booking reservation
buy order purchase
price cost
limit top first max maximum result
translate translation
"""


def tokens(text: str) -> list[str]:
    """The words and numbers of a text or an identifier, in lower case."""
    return _WORD.findall(_CAMEL.sub(" ", text).lower())


def stem(word: str) -> str:
    """Cut a word's ending, so that its forms meet: calculate, calculator and calculations are one."""
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    for suffix in _SUFFIXES:
        if len(word) - len(suffix) >= 3 and word.endswith(suffix):
            return word[: -len(suffix)]
    return word


def _stems(words: Iterable[str]) -> frozenset[str]:
    return frozenset(stem(word) for word in words)


STOPWORDS = frozenset(_STOPWORDS.split())
_GROUPS = [_stems(line.split()) for line in _SYNONYMS.strip().splitlines()]
_MEANINGS = {
    word: frozenset[str]().union(*(group for group in _GROUPS if word in group)) for word in _stems(_SYNONYMS.split())
}


def content(text: str) -> frozenset[str]:
    """The stems of the words that carry meaning."""
    return _stems(word for word in tokens(text) if word not in STOPWORDS)


def synonyms(of: str) -> frozenset[str]:
    """The stems that mean what this stem means, itself included."""
    return _MEANINGS.get(of, frozenset()) | {of}
