"""Cutting a query into separate requests."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_REQUESTS = 64
"""Pieces a query is cut into; what follows stays in the last one. Bounds the planner's work on a pasted book."""

QUOTED = (
    # An opening mark ends the search for a closing one, so that a run of opening marks is not read over and over.
    r'"[^"]*+"|“[^“”]*+”|«[^«»]*+»|「[^「」]*+」|```(?:[^`]|`(?!``))*+```|`[^`\n]*+`'
    r"|‘(?:[^‘’]|(?<=\w)’(?=\w))*+’"
    # An apostrophe inside a word neither opens nor closes.
    r"|(?<!\w)'(?:[^']|(?<=\w)'(?=\w))++'(?!\w)"
)
URL = r"https?://[^\s<>\"'“”]++"

# "Count the words of this text: ..." - everything after the colon is that text, whatever it contains, unless a list.
_PAYLOAD = re.compile(
    r"\b(?:text|sentence|paragraph|string|phrase|message|passage|poem|story|how many|how long)\b[^:.?!\n]{0,40}:\s+"
    r"(?![ \t]*(?:\d{1,3}[.)]|[-*•–])\s)",
    re.IGNORECASE,
)
_BARE_NUMBER = re.compile(r"[\d.,]+(?:\s?(?:$|[?!)])|\s(?:and|by|from|to|together)\b|(?<=,)\s)")
_BULLET = r"(?:\d{1,3}[.)]|[-*•–])[ \t]+"
_PIECE = re.compile(
    rf"""
      (?P<kept>{QUOTED}|{URL})
    | (?P<line>(?:^|\n)\s*+(?:{_BULLET})?+)
    | (?P<number>\d++(?:[.,]\d++)*+)
    | (?P<abbreviation>\b(?:e\.g|i\.e|a\.m|p\.m|vs|Mr|Mrs|Ms|Dr|St)\.)
    | (?P<end>[.?!]++(?=\s|$)|[。？！；]|;)
    | (?P<link>,\s+(?:(?:and|then|also|plus)\s+){{0,2}}|(?<!\s)\s+(?:and|then|also|&)\s+(?:(?:then|also)\s+)?)
    | (?P<open>[(\[{{])
    | (?P<close>[)\]}}])
    | \w++ | .
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the query that may be a request.

    Attributes:
        link: The comma or "and" before it, when it may still belong to the piece before; "" when it cannot.
    """

    text: str
    link: str = ""


def split(query: str) -> list[Piece]:
    """Cut at sentence ends, lines, bullets and semicolons, and tentatively at commas and "and".

    Quotations, URLs, numbers such as 1,234 and anything in brackets stay whole.
    """
    payload = _PAYLOAD.search(query)
    cut = payload.end() if payload else len(query)
    pieces = [piece for piece in _cut(query[:cut], query[cut:].strip()) if piece.text]
    if len(pieces) <= MAX_REQUESTS:
        return pieces
    rest = pieces[MAX_REQUESTS - 1 :]
    return [*pieces[: MAX_REQUESTS - 1], Piece(" ".join(piece.text for piece in rest))]


def _cut(query: str, payload: str) -> Iterator[Piece]:
    start, link, depth = 0, "", 0
    for match in _PIECE.finditer(query):
        match match.lastgroup:
            case "open":
                depth += 1
            case "close":
                depth = max(0, depth - 1)
            case "line" | "end":
                depth = 0  # a bracket that was never closed
                yield Piece(query[start : match.start()].strip() + match[0].strip() * (match.lastgroup == "end"), link)
                start, link = match.end(), ""
            case "link" if not depth and not _between_numbers(query, match):
                yield Piece(query[start : match.start()].strip(), link)
                start, link = match.end(), match[0]
            case _:
                pass
    last = query[start:].strip()
    yield Piece(f"{last} “{payload}”" if payload else last, link)


def _between_numbers(query: str, match: re.Match[str]) -> bool:
    """Whether a comma or "and" joins two bare numbers, as in "add 3 and 4"."""
    before, after = query[max(0, match.start() - 1) : match.start()], query[match.end() : match.end() + 1]
    return before.isdigit() and after.isdigit() and _BARE_NUMBER.match(query, match.end()) is not None
