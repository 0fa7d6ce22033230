"""Google-style docstrings, as far as descriptions are made of them: the text, and one text for each parameter."""

import inspect
import re
from dataclasses import dataclass

_SECTION = re.compile(r"^(Args|Arguments|Returns|Yields|Raises|Example|Examples|Note|Notes|Attributes):\s*$")
_PARAMETER = re.compile(r"^(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Docstring:
    """A docstring taken apart.

    Attributes:
        text: Everything before the first section, as written.
        parameters: What `Args:` (of a class, `Attributes:`) says of each name, each on one line.
    """

    text: str
    parameters: dict[str, str]


def parse_docstring(source: str) -> Docstring:
    """Take a docstring apart; one without sections is all text."""
    sections: dict[str, list[str]] = {"": []}
    section = ""
    for line in inspect.cleandoc(source).splitlines():
        if heading := _SECTION.match(line):
            section = heading[1]
            sections.setdefault(section, [])
        else:
            sections[section].append(line)
    described = sections.get("Args") or sections.get("Arguments") or sections.get("Attributes") or []
    return Docstring("\n".join(sections[""]).strip(), _parameters(described))


def _parameters(lines: list[str]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    name = ""
    margin = min((_indent(line) for line in lines if line.strip()), default=0)
    for line in lines:
        text = line.strip()
        if text and _indent(line) == margin and (entry := _PARAMETER.match(text)):
            name = entry[1]
            parameters[name] = entry[2]
        elif text and name:
            parameters[name] = f"{parameters[name]} {text}".strip()
    return parameters


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
