"""The text a person would read on a web page, in time proportional to its length.

Written by hand because a page is written by strangers: on Python 3.13.0 `html.parser` takes 24 s for 50 KB of "<a "
and raises AssertionError for "<![<!", and the C parser we tried needs minutes for 2 MB of unclosed elements, all
without letting another thread run. This scanner only ever moves forward; what is not closed ends the page.
"""

import html
import re
from dataclasses import dataclass

_TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)")
_TAG_BREAK = re.compile(r"[\"'>]")
_UNREAD = {"script", "style", "template", "noscript", "svg", "iframe", "title"}
_LINES = {
    *("address", "article", "aside", "blockquote", "body", "dd", "div", "dl", "dt", "figcaption", "figure", "footer"),
    *("form", "header", "hr", "li", "main", "nav", "ol", "option", "p", "pre", "section", "table", "tr", "ul", "br"),
}
_PARAGRAPHS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "pre", "blockquote"}
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_OPENINGS = {**_HEADINGS, "li": "- ", "td": " ", "th": " "}

_KEPT_SPACE = "\N{NO-BREAK SPACE}"
"""Stands for a space inside <pre> while the others are being squeezed; outside, all white space becomes plain."""

_PARAGRAPH = "\n\f\n"
"""Asks for a blank line; line breaks alone never make one, however many elements end at one place."""


@dataclass(frozen=True, slots=True)
class Readable:
    """A page as text: blank lines between paragraphs, "# " before headings, "- " before list items."""

    title: str
    text: str


def readable(page: str) -> Readable:
    """Reduce an HTML page, however broken, to its text."""
    title = ""
    pieces: list[str] = []
    preformatted = False
    place = 0
    while place < len(page):
        opening = page.find("<", place)
        if opening < 0:
            opening = len(page)
        pieces.append(_text(page[place:opening], _KEPT_SPACE if preformatted else " "))
        tag = _TAG.match(page, opening)
        if tag is None:
            place = _past_other(page, opening, pieces)
            continue
        name = tag[1].lower()
        closing = page[opening + 1] == "/"
        place = _past_tag(page, tag.end())
        if name in _UNREAD and not closing:
            end = re.compile(f"</{name}", re.IGNORECASE).search(page, place)
            if name == "title" and end and not title:
                title = " ".join(_unescaped(page[place : end.start()]).split())
            place = end.start() if end else len(page)
            continue
        if name == "pre":
            preformatted = not closing
        pieces.append(_mark(name, "" if closing else _OPENINGS.get(name, "")))
    return Readable(title, _squeezed("".join(pieces)))


def _past_other(page: str, opening: int, pieces: list[str]) -> int:
    """Skip what starts with "<" and is no tag: a comment, a declaration, or just a less-than sign."""
    if page.startswith("<!--", opening):
        end = page.find("-->", opening + 4)
        return end + 3 if end >= 0 else len(page)
    if page.startswith(("<!", "<?", "</"), opening):
        end = page.find(">", opening)
        return end + 1 if end >= 0 else len(page)
    pieces.append(page[opening : opening + 1])
    return opening + 1


def _past_tag(page: str, place: int) -> int:
    """Find the end of a tag; a quoted attribute may contain ">"."""
    while found := _TAG_BREAK.search(page, place):
        if found[0] == ">":
            return found.end()
        place = page.find(found[0], found.end()) + 1
        if place == 0:
            break
    return len(page)


def _mark(name: str, opening: str) -> str:
    if name in _PARAGRAPHS:
        return _PARAGRAPH + opening
    return "\n" + opening if name in _LINES else opening


def _text(source: str, space: str) -> str:
    text = _unescaped(source)
    if space == " ":
        # Split alone would lose a space that separates this text from the next element's.
        squeezed = " ".join(text.split())
        before = " " if text[:1].isspace() else ""
        return f"{before}{squeezed}{' ' if squeezed and text[-1:].isspace() else ''}"
    # A line of nothing but a kept space survives as a blank line.
    lines = text.replace("\f", " ").expandtabs(4).replace(" ", space).split("\n")
    return "\n".join([lines[0], *(line or space for line in lines[1:-1]), *lines[1:][-1:]])


def _unescaped(source: str) -> str:
    try:
        return html.unescape(source)
    except ValueError:
        # A numeric reference with thousands of digits.
        return source


def _squeezed(text: str) -> str:
    lines: list[str] = []
    blank = False
    for line in text.split("\n"):
        if line == "\f":
            blank = True
        elif squeezed := " ".join(part for part in line.split(" ") if part):
            lines += ["", squeezed] if blank and lines else [squeezed]
            blank = False
    return "\n".join(line.replace(_KEPT_SPACE, " ").rstrip() for line in lines)
