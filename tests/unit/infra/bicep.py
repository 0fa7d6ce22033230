"""What a Bicep template would deploy, worked out without Azure: enough of the language for `infra/`.

1. tree-sitter parses; a file with a syntax error is an error.
2. Modules, loops, conditions and functions are evaluated for one set of parameters. Whatever the template uses must
   exist: parameters, variables, symbols, functions, outputs of modules, and properties that Azure fills in.
3. What is left is the list of resources as Azure Resource Manager would be sent them.

What only Azure knows (ids, endpoints) is a `Runtime` text that names where it comes from.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

from tests.unit.infra.bicep_functions import FUNCTIONS, BicepError, Runtime
from tests.unit.infra.bicep_resources import Deployment, FilledIn, Handle, Outputs, Resource

type Scope = dict[str, Callable[[], Any]]

TYPES: dict[str, type | tuple[type, ...]] = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}


@cache
def parse(path: Path) -> Node:
    """The syntax tree. Raises BicepError where there is none."""
    root = Parser(Language(tree_sitter_bicep.language())).parse(path.read_bytes()).root_node
    for node in walk(root):
        if node.is_error or node.is_missing:
            raise BicepError(f"{path.name}:{node.start_point.row + 1}: syntax error")
    return root


def walk(node: Node) -> list[Node]:
    """The node and all below it."""
    return [node, *(deeper for child in node.children for deeper in walk(child))]


def words(node: Node) -> str:
    """The source of a node."""
    assert node.text is not None
    return node.text.decode()


def evaluate(path: Path, parameters: Mapping[str, Any]) -> Deployment:
    """What this template deploys. Raises BicepError for whatever `bicep build` or the deployment would refuse."""
    return Template(path, parameters).run()


class Template:
    """One file with its parameters."""

    def __init__(self, path: Path, parameters: Mapping[str, Any]) -> None:
        self._path = path
        self._given = dict(parameters)
        self._made = Deployment()
        self._scope: Scope = {}
        self._values: dict[str, Any] = {}

    def run(self) -> Deployment:
        outputs: list[Node] = []
        for node in parse(self._path).named_children:
            match node.type:
                case "parameter_declaration":
                    self._declare(node, self._parameter)
                case "variable_declaration":
                    self._declare(node, self._variable)
                case "resource_declaration":
                    self._declare(node, self._resource)
                case "module_declaration":
                    self._declare(node, self._module)
                case "output_declaration":
                    outputs.append(node)
                case "comment" | "decorators" | "target_scope_assignment":
                    pass
                case other:
                    raise BicepError(f"{self._at(node)}: {other} is not understood")
        if unknown := set(self._given) - set(self._scope):
            raise BicepError(f"{self._path.name}: has no parameter {sorted(unknown)}")
        for name in list(self._scope):
            self._scope[name]()
        self._made.outputs = {
            words(node.named_children[0]): self._value(node.named_children[2], {}) for node in outputs
        }
        return self._made

    def _declare(self, node: Node, work_out: Callable[[str, Node], Any]) -> None:
        name = words(node.named_children[0])
        if name in self._scope:
            raise BicepError(f"{self._at(node)}: {name} is declared twice")

        def value() -> Any:
            if name not in self._values:
                self._values[name] = work_out(name, node)
            return self._values[name]

        self._scope[name] = value

    def _parameter(self, name: str, node: Node) -> Any:
        kind, default = words(node.named_children[1]), node.named_children[2:]
        if name in self._given:
            value = self._given[name]
        elif default:
            value = self._value(default[0], {})
        else:
            raise BicepError(f"{self._at(node)}: no value for parameter {name}")
        expected = TYPES[kind]
        if not isinstance(value, expected) or (kind == "int" and isinstance(value, bool)):
            raise BicepError(f"{self._at(node)}: {name} is {value!r}, which is no {kind}")
        before = node.prev_named_sibling
        for decorator in before.named_children if before is not None and before.type == "decorators" else []:
            self._check(name, value, decorator.named_children[0])
        return value

    def _check(self, name: str, value: Any, call: Node) -> None:
        rule, (limit, *_) = (
            words(call.named_children[0]),
            [self._value(child, {}) for child in call.named_children[1].named_children] or [None],
        )
        broken = {
            "allowed": lambda: value not in limit,
            "minValue": lambda: value < limit,
            "maxValue": lambda: value > limit,
            "minLength": lambda: len(value) < limit,
            "maxLength": lambda: len(value) > limit,
            "description": lambda: False,
            "secure": lambda: False,
        }[rule]
        if broken():
            raise BicepError(f"{self._at(call)}: {name} is {value!r}, against @{rule}({limit})")

    def _variable(self, name: str, node: Node) -> Any:
        return self._value(node.named_children[1], {})

    def _resource(self, name: str, node: Node) -> Any:
        kind, version = words(node.named_children[1]).strip("'").split("@")
        body = node.named_children[-1]
        if any(child.type == "existing" for child in node.children):
            # Its name is worked out, and must be one, whatever its condition says.
            bare = body.named_children[1] if body.type == "if_statement" else body
            return self._each(bare, {}, lambda found: self._handle(kind, found))
        if body.type == "if_statement" and not self._name_of(body.named_children[1]):
            raise BicepError(f"{self._at(node)}: {name} has no name, which is worked out although there will be none")
        return self._each(body, {}, lambda found: self._place(name, kind, version, found))

    def _name_of(self, body: Node) -> Any:
        pairs = (child.named_children for child in body.named_children if child.type == "object_property")
        return next(self._value(value, {}) for key, value in pairs if words(key) == "name")

    def _place(self, symbol: str, kind: str, version: str, body: dict[str, Any]) -> Handle:
        on = body.pop("scope", None)
        body.pop("dependsOn", None)
        handle = self._handle(kind, body)
        about = on.path if isinstance(on, Handle) else None
        self._made.resources.append(Resource(symbol, kind, version, handle.path, about, body))
        return handle

    def _handle(self, kind: str, body: dict[str, Any]) -> Handle:
        """Take name and parent out of a body."""
        parent, name = body.pop("parent", None), body.pop("name")
        if not name:
            raise BicepError(f"{self._path.name}: a {kind} has no name")
        if parent is not None and not kind.startswith(f"{parent.type}/"):
            raise BicepError(f"{self._path.name}: {kind} is no child of {parent.type}")
        return Handle(kind, f"{parent.path}/{name}" if parent is not None else f"{kind}/{name}")

    def _module(self, name: str, node: Node) -> Any:
        path = self._path.parent / words(node.named_children[1]).strip("'")

        def place(body: dict[str, Any]) -> Outputs:
            made = evaluate(path, body.get("params", {}))
            self._made.resources += made.resources
            return Outputs(made.outputs)

        return self._each(node.named_children[-1], {}, place)

    def _each(self, node: Node, names: Mapping[str, Any], place: Callable[[dict[str, Any]], Any]) -> Any:
        """Place the body of a declaration: once, once per item, or not at all, which gives None."""
        match node.type:
            case "if_statement":
                condition, body = node.named_children
                return self._each(body, names, place) if self._value(condition, names) is True else None
            case "for_statement":
                return [self._each(body, inner, place) for body, inner in self._rounds(node, names)]
            case _:
                return place(self._value(node, names))

    def _rounds(self, node: Node, names: Mapping[str, Any]) -> list[tuple[Node, dict[str, Any]]]:
        variables, over, body = node.named_children
        item, *index = [words(child) for child in (variables.named_children or [variables])]
        found = self._value(over, names)
        if not isinstance(found, list):
            raise BicepError(f"{self._at(node)}: cannot go over {found!r}")
        return [(body, {**names, item: each, **dict.fromkeys(index, i)}) for i, each in enumerate(found)]

    def _value(self, node: Node, names: Mapping[str, Any]) -> Any:
        match node.type:
            case "string":
                return self._text(node, names)
            case "number":
                return int(words(node))
            case "boolean":
                return words(node) == "true"
            case "null":
                return None
            case "array":
                return [self._value(child, names) for child in node.named_children if child.type != "comment"]
            case "object":
                return self._object(node, names)
            case "parenthesized_expression":
                return self._value(node.named_children[0], names)
            case "identifier":
                return self._named(words(node), names, node)
            case "member_expression":
                return self._member(node, names)
            case "subscript_expression":
                whole, index = (self._value(child, names) for child in node.named_children)
                return whole[index]
            case "ternary_expression":
                condition, yes, no = node.named_children
                return self._value(yes if self._truth(condition, names) else no, names)
            case "unary_expression":
                return not self._truth(node.named_children[0], names)
            case "binary_expression":
                return self._both(node, names)
            case "call_expression":
                return self._call(node, names)
            case "for_statement":
                return [self._value(body, inner) for body, inner in self._rounds(node, names)]
            case other:
                raise BicepError(f"{self._at(node)}: {other} is not understood")

    def _member(self, node: Node, names: Mapping[str, Any]) -> Any:
        base, keys = node, list[Node]()
        while base.type == "member_expression":
            base, key = base.named_children
            keys.insert(0, key)
        if base.type == "ternary_expression":
            # The grammar reads `a ? b : c.d` as `(a ? b : c).d`.
            condition, yes, base = base.named_children
            if self._truth(condition, names):
                return self._value(yes, names)
        value = self._value(base, names)
        for key in keys:
            value = self._get(value, words(key), key)
        return value

    def _named(self, name: str, names: Mapping[str, Any], node: Node) -> Any:
        if name in names:
            return names[name]
        if name not in self._scope:
            raise BicepError(f"{self._at(node)}: {name} is not declared")
        return self._scope[name]()

    def _get(self, whole: Any, key: str, node: Node) -> Any:
        at = self._at(node)
        if isinstance(whole, Handle | FilledIn | Outputs):
            return whole.get(key, at)
        if not isinstance(whole, Mapping) or key not in whole:
            raise BicepError(f"{at}: there is no {key}")
        return whole[key]

    def _truth(self, node: Node, names: Mapping[str, Any]) -> bool:
        value = self._value(node, names)
        if not isinstance(value, bool):
            raise BicepError(f"{self._at(node)}: {words(node)} is neither true nor false")
        return value

    def _both(self, node: Node, names: Mapping[str, Any]) -> bool:
        left, right = node.named_children
        match words(node.children[1]):
            case "==":
                return self._value(left, names) == self._value(right, names)
            case "!=":
                return self._value(left, names) != self._value(right, names)
            case "&&":
                return self._truth(left, names) and self._truth(right, names)
            case "||":
                return self._truth(left, names) or self._truth(right, names)
            case other:
                raise BicepError(f"{self._at(node)}: {other} is not understood")

    def _call(self, node: Node, names: Mapping[str, Any]) -> Any:
        name, arguments = words(node.named_children[0]), node.named_children[1].named_children
        values = [self._value(argument, names) for argument in arguments]
        match name:
            case "loadJsonContent":
                return json.loads((self._path.parent / values[0]).read_text("utf-8"))
            case "loadTextContent":
                return (self._path.parent / values[0]).read_text("utf-8")
            case _ if name in FUNCTIONS:
                return FUNCTIONS[name](*values)
            case _:
                raise BicepError(f"{self._at(node)}: no function {name}")

    def _object(self, node: Node, names: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for child in node.named_children:
            if child.type == "comment":
                continue
            key, value = child.named_children
            name = self._text(key, names) if key.type == "string" else words(key)
            if name in found:
                raise BicepError(f"{self._at(child)}: {name} is there twice")
            if (worked_out := self._value(value, names)) is not None:
                found[name] = worked_out
        return found

    def _text(self, node: Node, names: Mapping[str, Any]) -> str:
        parts: list[str] = []
        known = True
        for child in node.named_children:
            if child.type == "interpolation":
                value = self._value(child.named_children[0], names)
                known = known and not isinstance(value, Runtime)
                parts.append(str(value))
            else:
                parts.append(re.sub(r"\\(.)", r"\1", words(child)))
        return "".join(parts) if known else Runtime("".join(parts))

    def _at(self, node: Node) -> str:
        return f"{self._path.name}:{node.start_point.row + 1}"
