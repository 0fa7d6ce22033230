"""Every Bicep file, for two parsers that have nothing in common; and what neither of them looks at: names."""

from pathlib import Path

import pytest
from pycep import BicepParser
from tree_sitter import Node

from tests.unit.infra.bicep import TYPES, evaluate, parse, walk, words
from tests.unit.infra.bicep_functions import FUNCTIONS, BicepError
from tests.unit.infra.conftest import INFRA

FILES = sorted(INFRA.rglob("*.bicep"))
DECLARED = ("parameter_declaration", "variable_declaration", "resource_declaration", "module_declaration")
LOADED = {"loadJsonContent", "loadTextContent"}
DECORATORS = {"description", "allowed", "minValue", "maxValue", "minLength", "maxLength", "onlyIfNotExists"}
HOLD_LOOPS = {"object", "object_property", "array", "for_statement", "if_statement"}
"""What may lie between a loop and its declaration; Bicep refuses a loop in a function call or a choice."""
KNOWN = {"id", "name", "type", "apiVersion"}
"""What is known of a resource before it is there."""

pytestmark = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def declarations(path: Path) -> dict[str, Node]:
    return {words(node.named_children[0]): node for node in parse(path).named_children if node.type in DECLARED}


def used(path: Path) -> set[str]:
    """Names in expressions, and not those of what is being declared."""
    declared = {node.named_children[0].id for node in declarations(path).values()}
    found = set[str]()
    for node in walk(parse(path)):
        parent = node.parent
        if node.type != "identifier" or node.id in declared or parent is None:
            continue
        if parent.type == "object_property" and parent.named_children[0].id == node.id:
            continue
        if parent.type == "call_expression" and parent.named_children[0].id == node.id:
            continue
        if parent.type == "output_declaration" and parent.named_children[0].id == node.id:
            continue
        found.add(words(node))
    return found


def loop_names(path: Path) -> set[str]:
    loops = [node for node in walk(parse(path)) if node.type == "for_statement"]
    variables = [loop.named_children[0] for loop in loops]
    return {words(name) for each in variables for name in (each.named_children or [each])}


def test_both_parsers_understand_it(path: Path) -> None:
    assert BicepParser().parse(file_path=path)
    assert parse(path)


def test_every_name_that_is_used_is_declared_and_every_declared_one_is_used(path: Path) -> None:
    declared, loops = set(declarations(path)), loop_names(path)
    assert used(path) - declared - loops == set()
    made = {name for name, node in declarations(path).items() if is_made(node)}
    assert declared - made - used(path) == set()


def is_made(node: Node) -> bool:
    """Whether it does something by being there: a module, or a resource that is not only looked up."""
    if node.type == "module_declaration":
        return True
    return node.type == "resource_declaration" and not any(child.type == "existing" for child in node.children)


def test_every_function_and_decorator_exists(path: Path) -> None:
    called = {words(node.named_children[0]) for node in walk(parse(path)) if node.type == "call_expression"}
    assert called <= set(FUNCTIONS) | LOADED | DECORATORS


def test_every_output_that_is_read_is_an_output_of_the_module_and_every_output_is_read(path: Path) -> None:
    modules = {
        name: path.parent / words(node.named_children[1]).strip("'")
        for name, node in declarations(path).items()
        if node.type == "module_declaration"
    }
    read = {
        (words(node.named_children[0].named_children[0]), words(node.named_children[1]))
        for node in walk(parse(path))
        if node.type == "member_expression" and words(node.named_children[0]).replace("!", "").endswith(".outputs")
    }
    # `a ? b : c.outputs.d` is read by the grammar as `(a ? b : c).outputs.d`.
    read = {(words_after_choice(symbol), output) for symbol, output in read}
    assert read == {(name, output) for name, module in modules.items() for output in outputs(module)}


def words_after_choice(symbol: str) -> str:
    return symbol.rpartition(" ")[2]


def outputs(path: Path) -> set[str]:
    return {words(node.named_children[0]) for node in parse(path).named_children if node.type == "output_declaration"}


def test_every_parameter_has_a_type_that_is_known_and_a_loop_is_where_bicep_allows_one(path: Path) -> None:
    for node in parse(path).named_children:
        if node.type == "parameter_declaration":
            assert words(node.named_children[1]) in TYPES
    for loop in (node for node in walk(parse(path)) if node.type == "for_statement"):
        above = loop.parent
        while above is not None and above.type not in DECLARED:
            assert above.type in HOLD_LOOPS, f"{path.name}:{loop.start_point.row + 1}"
            above = above.parent


def test_what_must_be_known_before_anything_is_deployed_does_not_depend_on_what_is(path: Path) -> None:
    assert {words(each) for node in needed_first(path) for each in asked_of_azure(path, node)} == set()


def needed_first(path: Path) -> list[Node]:
    """What a loop goes over, what a condition says, and a resource's name and scope."""
    found: list[Node] = []
    for node in walk(parse(path)):
        match node.type:
            case "for_statement":
                found.append(node.named_children[1])
            case "if_statement":
                found.append(node.named_children[0])
            case "resource_declaration" | "module_declaration":
                body = node.named_children[-1]
                while body.type in ("for_statement", "if_statement"):
                    body = body.named_children[-1]
                pairs = [child.named_children for child in body.named_children if child.type == "object_property"]
                found += [value for key, value in pairs if words(key) in ("name", "scope")]
    return found


def asked_of_azure(path: Path, node: Node) -> list[Node]:
    """Properties of resources and outputs of modules, in an expression and in the variables it is made of."""
    declared, found = declarations(path), list[Node]()
    for each in walk(node):
        if each.type == "identifier" and (variable := declared.get(words(each))):
            if variable.type == "variable_declaration":
                found += asked_of_azure(path, variable.named_children[1])
        elif each.type == "member_expression":
            base, key = each.named_children
            of = declared.get(words_after_choice(words(base)).removesuffix("!"))
            if of and of.type in ("resource_declaration", "module_declaration") and words(key) not in KNOWN:
                found.append(each)
    return found


def test_a_mistake_would_be_seen(path: Path, tmp_path: Path) -> None:
    """Of the checks above: a file is refused with a name that is not there, a missing brace, a loop over what nobody
    knows yet, or a resource that has no name."""
    unknown = tmp_path / "unknown.bicep"
    unknown.write_text("output a string = nowhere.b\n")
    with pytest.raises(BicepError, match="nowhere is not declared"):
        evaluate(unknown, {})
    broken = tmp_path / path.name
    broken.write_text(path.read_text("utf-8") + "\nresource x 'A/b@1' = {\n")
    with pytest.raises(BicepError, match="syntax error"):
        parse(broken)
    early = tmp_path / "early.bicep"
    early.write_text(
        "resource a 'A/b@1' existing = {\n  name: 'a'\n}\nvar over = [a.properties.c]\n"
        "resource d 'A/d@1' = {\n  name: 'd'\n  properties: { e: [for f in over: { g: f }] }\n}\n"
    )
    assert [words(each) for node in needed_first(early) for each in asked_of_azure(early, node)] == ["a.properties"]
    nameless = tmp_path / "nameless.bicep"
    for existing in ("existing ", ""):
        nameless.write_text(f"param x string\nresource a 'A/b@1' {existing}= if (!empty(x)) {{\n  name: x\n}}\n")
        parse.cache_clear()
        evaluate(nameless, {"x": "a"})
        with pytest.raises(BicepError, match="has no name"):
            evaluate(nameless, {"x": ""})
