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
DECORATORS = {"description", "allowed", "minValue", "maxValue", "minLength", "maxLength"}
HOLD_LOOPS = {"object", "object_property", "array", "for_statement", "if_statement"}
"""What may lie between a loop and its declaration; Bicep refuses a loop in a function call or a choice."""

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


def test_a_mistake_would_be_seen(path: Path, tmp_path: Path) -> None:
    """Of the checks above: a file with a name that is not there, or with a missing brace, is refused."""
    unknown = tmp_path / "unknown.bicep"
    unknown.write_text("output a string = nowhere.b\n")
    with pytest.raises(BicepError, match="nowhere is not declared"):
        evaluate(unknown, {})
    broken = tmp_path / path.name
    broken.write_text(path.read_text("utf-8") + "\nresource x 'A/b@1' = {\n")
    with pytest.raises(BicepError, match="syntax error"):
        parse(broken)
