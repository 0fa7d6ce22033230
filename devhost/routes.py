"""Azure's HTTP route templates, as patterns.

A template is a list of segments: ``literal``, ``{name}``, ``{name?}``, ``{name=default}``, ``{*rest}``, with
constraints after colons (``{id:int:min(1)}``), in the syntax of ASP.NET. Values stay text, as in Azure.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

_PARAMETER = re.compile(
    r"\{(\*{0,2})([A-Za-z_]\w*)((?::(?:[^{}()=?]+(?:\((?:[^()]|\([^()]*\))*\))?))*)(=[^{}]*)?(\?)?\}"
)
_CONSTRAINT = re.compile(r":([A-Za-z]+)(?:\(((?:[^()]|\([^()]*\))*)\))?")

_NUMBER = r"[+-]?\d+"
_CONSTRAINT_PATTERNS = {
    "int": _NUMBER,
    "long": _NUMBER,
    "decimal": r"[+-]?\d+(?:\.\d+)?",
    "double": r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?",
    "float": r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?",
    "bool": r"(?i:true|false)",
    "guid": r"[{(]?[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}[)}]?",
    "alpha": r"[A-Za-z]+",
    "datetime": r"\d{4}-\d{2}-\d{2}(?:[T ][\d:.]+(?:Z|[+-]\d{2}:?\d{2})?)?",
    "required": r".+",
}


class RouteError(ValueError):
    """A route template that cannot be read."""


@dataclass(frozen=True)
class _Parameter:
    name: str
    patterns: tuple[re.Pattern[str], ...]
    at_least: float
    at_most: float
    default: str | None

    def accepts(self, value: str) -> bool:
        if not all(pattern.fullmatch(value) for pattern in self.patterns):
            return False
        if self.at_least == float("-inf") and self.at_most == float("inf"):
            return True
        return bool(re.fullmatch(_NUMBER, value)) and self.at_least <= int(value) <= self.at_most


@dataclass(frozen=True)
class Route:
    """A compiled template. Literal routes come before those with parameters: sort by ``rank``."""

    template: str
    rank: tuple[int, ...]
    _pattern: re.Pattern[str]
    _parameters: tuple[_Parameter, ...]

    def match(self, path: str) -> dict[str, str] | None:
        """Route values of an (already decoded) path without its leading slash, or None."""
        found = self._pattern.fullmatch(path.strip("/"))
        if found is None:
            return None
        values: dict[str, str] = {}
        for parameter in self._parameters:
            value = found.group(parameter.name)
            if not value:
                if parameter.default is not None:
                    values[parameter.name] = parameter.default
                continue
            if not parameter.accepts(value):
                return None
            values[parameter.name] = value
        return values


def compile_route(template: str) -> Route:
    """Compiles a route template.

    Raises:
        RouteError: The template is malformed, or has a constraint that Azure does not know either.
    """
    parameters: list[_Parameter] = []
    rank: list[int] = []
    pattern = ""
    for index, segment in enumerate(s for s in template.strip("/").split("/") if s):
        text, kind = _segment(segment, template, parameters)
        optional_slash = "" if index == 0 else "/"
        # An optional last segment takes its slash with it.
        pattern += f"(?:{optional_slash}{text})?" if kind >= _OPTIONAL else f"{optional_slash}{text}"
        rank.append(kind)
    names = [p.name.lower() for p in parameters]
    if len(names) != len(set(names)):
        raise RouteError(f"route '{template}' names a parameter twice")
    return Route(unquote(template), tuple(rank), re.compile(pattern, re.IGNORECASE | re.DOTALL), tuple(parameters))


_LITERAL, _CONSTRAINED, _PLAIN, _OPTIONAL, _CATCH_ALL = range(5)


def _segment(segment: str, template: str, parameters: list[_Parameter]) -> tuple[str, int]:
    pattern, kind, end = "", _LITERAL, 0
    for found in _PARAMETER.finditer(segment):
        star, name, constraints, default, optional = found.groups()
        pattern += re.escape(segment[end : found.start()])
        pattern += f"(?P<{name}>.*)" if star else f"(?P<{name}>[^/]+?)"
        end = found.end()
        parameters.append(_parameter(name, constraints, default, template))
        own = _CATCH_ALL if star else _OPTIONAL if optional or default else _CONSTRAINED if constraints else _PLAIN
        kind = max(kind, own)
    rest = segment[end:]
    if "{" in rest or "}" in rest:
        raise RouteError(f"route '{template}' is malformed at '{segment}'")
    return pattern + re.escape(rest), kind


def _parameter(name: str, constraints: str, default: str | None, template: str) -> _Parameter:
    patterns: list[str] = []
    at_least, at_most = float("-inf"), float("inf")
    for kind, argument in _CONSTRAINT.findall(constraints):
        bounds = [int(n) for n in re.findall(r"\d+", argument)]
        match kind.lower(), bounds:
            case "min", [n]:
                at_least = n
            case "max", [n]:
                at_most = n
            case "range", [low, high]:
                at_least, at_most = low, high
            case "length", [n]:
                patterns.append(f".{{{n}}}")
            case "length", [low, high]:
                patterns.append(f".{{{low},{high}}}")
            case "minlength", [n]:
                patterns.append(f".{{{n},}}")
            case "maxlength", [n]:
                patterns.append(f".{{0,{n}}}")
            case "regex", _:
                patterns.append(f".*(?:{argument}).*")
            case known, _ if known in _CONSTRAINT_PATTERNS:
                patterns.append(_CONSTRAINT_PATTERNS[known])
            case _:
                raise RouteError(f"route '{template}' has an unknown constraint '{kind}'")
    compiled = tuple(re.compile(pattern) for pattern in patterns)
    return _Parameter(name, compiled, at_least, at_most, default[1:] if default else None)
