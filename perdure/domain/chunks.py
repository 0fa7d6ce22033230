"""Cutting a document into passages that can be found and cited on their own.

1. `_blocks` reads the structure: headings, paragraphs (a list or table without blank lines is one), fenced code.
2. `chunks` keeps whole blocks together while they fit, never across a heading.
3. A block too long for one passage is cut where it hurts least: after a line, else a sentence, else a word.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_CHARACTERS = 1200
"""Longest passage in characters: about 300 tokens of English, enough for a thought and small enough to be about one."""

MAX_TITLE = 200
"""Longest heading in characters; a longer line is text. Every passage below a heading repeats it."""

SEPARATOR = " > "
"""Between the headings of a path, outermost first."""

_LINE = re.compile(r"[^\n]+")
_HEADING = re.compile(r"(#{1,6})[ \t]+(\S.*)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^\n]*)")
_ENDS = (re.compile(r"\n"), re.compile(r"[.!?。！？]\s"), re.compile(r"\s"))


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: the document's text from `start` to `end`, in characters.

    Attributes:
        heading: The headings it stands under, outermost first: "Guide > Retries > Back-off"; empty when there are none.
    """

    heading: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class _Block:
    """A stretch of text; a heading when `level` is not 0."""

    start: int
    end: int
    level: int = 0
    title: str = ""


def chunks(text: str) -> Iterator[Chunk]:
    """Cut text or Markdown into passages: whole blocks together while they fit, never across a heading.

    A heading with nothing below it is a passage itself, so that no word of the text is lost.
    """
    path: list[_Block] = []
    heading, start, end = "", 0, 0
    bare: _Block | None = None

    def passage(begin: int, at: int) -> Iterator[Chunk]:
        if at > begin:
            yield Chunk(heading, begin, at, text[begin:at])

    for block in _blocks(text):
        if block.level or block.end - start > MAX_CHARACTERS:
            yield from passage(start, end)
            start = end = block.start
        if block.level:
            if bare and block.level <= bare.level:
                yield from passage(bare.start, bare.end)
            path = [*(above for above in path if above.level < block.level), block]
            heading, start, end, bare = SEPARATOR.join(one.title for one in path), block.end, block.end, block
            continue
        bare = None
        if start == end:
            start = block.start
        while block.end - start > MAX_CHARACTERS:
            cut = _cut(text, start)
            yield from passage(start, cut)
            start = _next_word(text, cut, block.end)
        end = block.end
    yield from passage(start, end)
    if bare:
        yield from passage(bare.start, bare.end)


def _blocks(text: str) -> Iterator[_Block]:
    start, end, fence = 0, 0, ""
    for line in _LINE.finditer(text):
        content = line.group()
        if fence:
            end = line.end()
            if _closes(content, fence):
                yield _Block(start, end)
                start, fence = end, ""
            continue
        heading, opening, blank = _heading(line), _opening(content), not content.strip()
        # Two line breaks in a row, a blank line, a heading or a fence end the paragraph before them.
        if end > start and (heading or opening or blank or line.start() > end + 1):
            yield _Block(start, end)
            end = start
        if heading:
            yield heading
        elif not blank:
            start = start if end > start else line.start()
            end, fence = line.end(), opening
    if end > start:
        yield _Block(start, end)


def _heading(line: re.Match[str]) -> _Block | None:
    match = _HEADING.match(line.group())
    if match is None or len(match[2]) > MAX_TITLE:
        return None
    title = match[2].strip()
    # Markdown allows a row of # at the end, too.
    bare = title.rstrip("#")
    title = bare.rstrip() if bare.endswith((" ", "\t")) else title
    return _Block(line.start(), line.end(), len(match[1]), title)


def _opening(content: str) -> str:
    """The fence that a line opens; empty when it opens none."""
    match = _FENCE.match(content)
    # ```x``` on one line is code within a sentence.
    return "" if match is None or (match[1][0] == "`" and "`" in match[2]) else match[1]


def _closes(content: str, fence: str) -> bool:
    mark = content.strip()
    return len(mark) >= len(fence) and set(mark) == {fence[0]}


def _cut(text: str, start: int) -> int:
    """Where to end a passage that began at `start` and goes on beyond MAX_CHARACTERS."""
    limit = start + MAX_CHARACTERS
    for end in _ENDS:
        # Not in the first half: a short line at the beginning is no reason for a short passage.
        last = max((match.start() for match in end.finditer(text, start + MAX_CHARACTERS // 2, limit + 1)), default=0)
        if last:
            return last if text[last].isspace() else last + 1
    return limit


def _next_word(text: str, at: int, end: int) -> int:
    while at < end and text[at].isspace():
        at += 1
    return at
