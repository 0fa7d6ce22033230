"""Words and sentences in text of any script.

`re` knows no combining marks as part of a word, and Chinese and Japanese write no spaces. So each character is first
classed by its Unicode category, and the pattern then runs over the classes, which have the same offsets.
"""

import functools
import re
import unicodedata

_WORD = re.compile(r"i|[wn]+(?:(?:j|(?<=n)p(?=n))[wn]+)*")
# The look-behind lets a run of full stops be tried once, not once from each of them.
_SENTENCE_END = re.compile(r"(?<![.!?…؟۔।])[.!?…؟۔।]++[\"'”’»)\]]*+(?=\s|$)|[。！？｡]+|\n\s*\n")
_IDEOGRAPHS = ("CJK UNIFIED", "CJK COMPATIBILITY", "HIRAGANA", "KATAKANA")


def words(text: str) -> list[str]:
    """Return the words: letters, digits and marks, joined by single apostrophes and hyphens, digits also by points.

    An ideograph or kana is a word of its own.
    """
    normal = unicodedata.normalize("NFC", text)
    classes = "".join(map(_class, normal))
    return [normal[found.start() : found.end()] for found in _WORD.finditer(classes)]


def sentences(text: str) -> int:
    """Count stretches with at least one word that end in a full stop or its like, or in a blank line."""
    return sum(any(_class(character) in "wni" for character in part) for part in _SENTENCE_END.split(text))


def paragraphs(text: str) -> int:
    """Count stretches of text between blank lines."""
    lines = [bool(line.strip()) for line in text.splitlines()]
    return sum(filled and not before for before, filled in zip([False, *lines], lines, strict=False))


@functools.lru_cache(maxsize=4096)
def _class(character: str) -> str:
    if character in "'’-‐_":
        return "j"
    if character in ".,":
        return "p"
    category = unicodedata.category(character)[0]
    if category not in "LNM":
        return " "
    if category == "N":
        return "n"
    return "i" if unicodedata.name(character, "").startswith(_IDEOGRAPHS) else "w"
