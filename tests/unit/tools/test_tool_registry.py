"""Tools by name, found in a package."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.tools import tool
from perdure.tools.registry import ToolRegistry, discover


@tool
def beta() -> str:
    """Second."""
    return "b"


@tool
def alpha() -> str:
    """First."""
    return "a"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "some_tools_package"
    root.mkdir()
    (root / "__init__.py").write_text('"""Tools."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield root
    for name in [name for name in sys.modules if name.startswith("some_tools_package")]:
        del sys.modules[name]


def write(package: Path, module: str, *names: str) -> None:
    tools = "".join(f'\n@tool\ndef {name}() -> str:\n    """Do it."""\n    return ""\n' for name in names)
    (package / f"{module}.py").write_text(f"from perdure.tools import tool\n{tools}")


def test_iteration_is_in_order_of_names() -> None:
    assert [found.name for found in ToolRegistry([beta, alpha])] == ["alpha", "beta"]


def test_an_unknown_name_gets_none() -> None:
    assert ToolRegistry([alpha]).get("nothing") is None
    assert ToolRegistry([alpha]).get("alpha") is alpha


def test_select_keeps_the_given_order_and_drops_repeats() -> None:
    assert ToolRegistry([alpha, beta]).select(["beta", "alpha", "beta"]) == (beta, alpha)


def test_select_suggests_the_nearest_name() -> None:
    with pytest.raises(LookupError, match="no tool is named 'alhpa'; did you mean 'alpha'"):
        ToolRegistry([alpha, beta]).select(["alhpa"])


def test_select_lists_what_there_is_when_nothing_is_near() -> None:
    with pytest.raises(LookupError, match="no tool is named 'zzz'; there are: alpha, beta"):
        ToolRegistry([alpha, beta]).select(["zzz"])


def test_two_tools_of_one_name_are_refused_naming_both_modules(package: Path) -> None:
    write(package, "one", "twin")
    write(package, "two", "twin")
    with pytest.raises(ValueError, match=r"'twin': in some_tools_package\.one and in some_tools_package\.two"):
        discover("some_tools_package")


def test_discover_finds_the_tools_of_every_module_but_hidden_ones(package: Path) -> None:
    write(package, "one", "first", "_hidden"[1:])
    write(package, "_private", "unseen")
    (package / "two.py").write_text("from perdure.tools import tool\nfrom some_tools_package.one import first\n")
    assert [found.name for found in discover("some_tools_package")] == ["first", "hidden"]


def test_discover_ignores_a_tool_behind_an_underscore(package: Path) -> None:
    write(package, "one", "first")
    with (package / "one.py").open("a") as source:
        source.write("\n_first = first\ndel first\n")
    assert len(discover("some_tools_package")) == 0


def test_a_module_that_fails_to_import_is_named_by_its_file(package: Path) -> None:
    (package / "broken.py").write_text("import nowhere_to_be_found\n")
    with pytest.raises(ImportError, match="No module named 'nowhere_to_be_found'") as failed:
        discover("some_tools_package")
    assert str(package / "broken.py") in str(failed.value)


def test_of_the_tools_of_this_app_all_but_the_one_that_sends_are_idempotent() -> None:
    import activities.tools

    registry = discover(activities.tools)
    assert [found.name for found in registry] == [
        "calculate",
        "convert_units",
        "current_time",
        "fetch_url",
        "recall",
        "remember",
        "search_documents",
        "send_email",
        "text_statistics",
    ]
    assert [found.name for found in registry if not found.idempotent] == ["send_email"]
