"""No adapter leaves out a case of the contract unless it says why."""

import ast
from pathlib import Path

from tests.contract.conftest import ADAPTERS

HERE = Path(__file__).resolve().parent
SKIPS = {
    # function in conftest.py that skips: why it may
    "no_clock": "a real account's time-to-live cannot be moved; our endpoint's can, and runs the same cases",
}


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def skips(node: ast.AST) -> bool:
    return any(
        isinstance(part, ast.Attribute) and part.attr in ("skip", "skipif", "xfail", "importorskip")
        for part in ast.walk(node)
    )


def test_every_case_runs_on_every_adapter() -> None:
    files = [HERE / name for name in ("test_documents.py", "test_batches.py", "test_limits.py", "test_listing.py")]
    assert {*HERE.glob("test_*.py")} == {*files, Path(__file__).resolve()}
    cases = [node for file in files for node in functions(file) if node.name.startswith("test_")]
    assert len(cases) > 45
    for case in cases:
        arguments = {argument.arg for argument in case.args.args}
        assert "store" in arguments, f"{case.name} does not take the store of each adapter"
        assert not arguments & {"request", "adapter"}, f"{case.name} may know which adapter it runs on"
        assert not skips(case), f"{case.name} may be skipped"
        assert not any(skips(decorator) for decorator in case.decorator_list), f"{case.name} may be skipped"
    assert set(ADAPTERS) == {"sqlite file", "sqlite memory", "cosmos"}


def test_what_skips_states_its_reason() -> None:
    skipping = {node.name for node in functions(HERE / "conftest.py") if skips(node)}
    assert skipping == set(SKIPS)
