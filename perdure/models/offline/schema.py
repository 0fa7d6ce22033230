"""What a tool asks for, read from its JSON Schema. A schema of a shape nobody foresaw reads as free text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from perdure.domain.messages import ToolSpec
from perdure.models.offline.words import stem, tokens

type Kind = Literal[
    "number",
    "boolean",
    "list",
    "object",
    "choice",
    "url",
    "email",
    "date",
    "zone",
    "expression",
    "unit",
    "place",
    "text",
]
type Role = Literal["from", "to"] | None

_MAX_DEPTH = 4

_FORMATS: dict[str, Kind] = {"uri": "url", "url": "url", "email": "email", "date": "date", "date-time": "date"}
_KIND_WORDS: dict[Kind, frozenset[str]] = {
    "url": frozenset({"url", "uri", "link", "website", "webpage"}),
    "email": frozenset({"email", "recipient"}),
    "date": frozenset({"date", "day", "deadline", "due"}),
    "zone": frozenset({"timezone", "tz", "zone"}),
    "expression": frozenset({"expression", "formula", "equation"}),
    "unit": frozenset({"unit", "currency"}),
    "place": frozenset({"city", "place", "location", "country", "town", "region", "origin", "destination"}),
}
_FROM = frozenset({"from", "source", "origin", "src"})
_TO = frozenset({"to", "target", "destination", "dest", "into"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing a tool wants to know.

    Attributes:
        kind: What sort of value to look for.
        role: Whether it is one end of a "from X to Y".
        whole: For a number: no fraction.
        choices: For a choice: the permitted values.
        parts: For an object its properties, for a list the one parameter that stands for an item.
    """

    name: str
    kind: Kind
    required: bool
    role: Role = None
    whole: bool = False
    choices: tuple[object, ...] = ()
    parts: tuple["Parameter", ...] = ()

    @property
    def stems(self) -> frozenset[str]:
        return frozenset(stem(word) for word in tokens(self.name))


def read_parameters(tool: ToolSpec) -> tuple[Parameter, ...]:
    """List a tool's parameters."""
    return _properties(tool.parameters, tool.parameters, _MAX_DEPTH)


def _properties(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> tuple[Parameter, ...]:
    required = {name for name in _list(schema.get("required")) if isinstance(name, str)}
    properties = _mapping(schema.get("properties"))
    return tuple(_parameter(name, one, name in required, root, depth) for name, one in properties.items())


def _parameter(name: str, schema: object, required: bool, root: Mapping[str, Any], depth: int) -> Parameter:
    resolved = _resolve(_mapping(schema), root)
    role = _role(name)
    choices = tuple(_list(resolved.get("enum"))) or ((resolved["const"],) if "const" in resolved else ())
    if choices:
        return Parameter(name, "choice", required, role, choices=choices)
    types = resolved.get("type")
    kinds = [kind for kind in _list(types) or [types] if kind != "null"]
    match kinds[0] if kinds else None:
        case "integer":
            return Parameter(name, "number", required, role, whole=True)
        case "number":
            return Parameter(name, "number", required, role)
        case "boolean":
            return Parameter(name, "boolean", required)
        case "array" if depth:
            item = _parameter(name, resolved.get("items"), True, root, depth - 1)
            return Parameter(name, "list", required, parts=(item,))
        case "object" if depth:
            return Parameter(name, "object", required, parts=_properties(resolved, root, depth - 1))
        case "array" | "object":
            # Deeper than anybody says in one sentence: only JSON in the request can fill it.
            return Parameter(name, "object", required)
        case _:
            return Parameter(name, _text_kind(name, resolved), required, role)


def _text_kind(name: str, schema: Mapping[str, Any]) -> Kind:
    form = schema.get("format")
    if isinstance(form, str) and form in _FORMATS:
        return _FORMATS[form]
    # The last word of a name says what it is: `from_unit` is a unit.
    for word in reversed(tokens(name)):
        for kind, words in _KIND_WORDS.items():
            if word in words:
                return kind
    return "text"


def _role(name: str) -> Role:
    words = set(tokens(name))
    return "from" if words & _FROM else "to" if words & _TO else None


def _resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow `$ref` and take the first alternative that is not null, as pydantic writes optional fields."""
    for _ in range(_MAX_DEPTH):  # a reference may lead back to itself
        reference = schema.get("$ref")
        alternatives = _list(schema.get("anyOf")) or _list(schema.get("oneOf")) or _list(schema.get("allOf"))
        if isinstance(reference, str):
            target: Mapping[str, Any] = root
            for part in reference.removeprefix("#/").split("/"):
                target = _mapping(target.get(part))
            schema = target
        elif alternatives:
            schema = next(
                (_mapping(one) for one in alternatives if _mapping(one).get("type") != "null"), _mapping(None)
            )
        else:
            break
    return schema


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else dict[str, Any]()


def _list(value: object) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()
