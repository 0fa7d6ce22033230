"""What is installed in Azure is what the deployed code imports, and what is left behind is there to be left behind."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib

from perdure.settings import ROOT
from tests.unit.test_repository import DEPLOYED, ignored, imports, python_files, tracked_root

NOT_IMPORTED = {
    "aiohttp": "the transport of azure.identity.aio and azure.cosmos.aio",
    "fastapi-offline": "its assets are read as files",
    "azure-monitor-opentelemetry-exporter": "found by its name: perdure/telemetry/exporters.py",
    "opentelemetry-exporter-otlp-proto-http": "likewise",
    "tzdata": "read by zoneinfo",
}
"""Declared dependencies that no line of deployed code imports by their own name, and what they are for."""

BROUGHT_ALONG = {
    "azure-core": "by azure-identity and azure-cosmos, whose errors it has",
    "durabletask": "by azure-functions-durable, whose types it has",
    "cryptography": "by pyjwt[crypto]",
    "grpcio": "by durabletask, whose errors are its own",
    "pydantic-core": "by pydantic",
    "starlette": "by azurefunctions-extensions-http-fastapi, whose requests and responses are its own",
}
"""What deployed code imports of packages that others depend on by their nature."""


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {re.split(r"[\[<>=]", line)[0] for line in project["dependencies"]}


def imported() -> set[str]:
    """Distributions that deployed code imports, wherever in a file."""
    owners = importlib.metadata.packages_distributions()
    found = set[str]()
    for path in python_files(*DEPLOYED):
        for name in imports(path):
            top = name.split(".")[0]
            if top and top not in sys.stdlib_module_names and top not in DEPLOYED:
                found.add(owner(name, owners.get(top, [])))
    return found


def owner(name: str, distributions: list[str]) -> str:
    """The one distribution, of those that share a top-level package such as azure, that has a module."""
    candidates = {each.lower().replace("_", "-") for each in distributions}
    if len(candidates) == 1:
        return candidates.pop()
    parts = name.split(".")
    for depth in range(len(parts), 1, -1):
        wanted = "/".join(parts[:depth])
        for each in sorted(candidates):
            files = importlib.metadata.files(each) or []
            if any(str(file) in (f"{wanted}.py", f"{wanted}/__init__.py") for file in files):
                return each
    raise AssertionError(f"{name} is of none of {sorted(candidates)}")


def test_everything_that_is_imported_is_declared() -> None:
    assert imported() - declared() - set(BROUGHT_ALONG) == set()


def test_everything_that_is_declared_is_imported_or_has_a_reason() -> None:
    assert declared() - imported() - set(NOT_IMPORTED) == set()
    assert set(NOT_IMPORTED) <= declared() - imported()


def test_everything_that_stays_behind_is_in_the_repository_or_is_never_committed() -> None:
    for pattern in ignored():
        name = pattern.removeprefix("/")
        if name in tracked_root() or name == ".git":
            continue
        example = name.replace("*", "-x") if name.startswith((".env", ".venv")) else name.replace("*", "x")
        asked = ["git", "check-ignore", example, f"{example}/"]
        known = subprocess.run(asked, cwd=ROOT, capture_output=True).returncode == 0
        assert known, f"{pattern} of .funcignore is neither in the repository nor in .gitignore"
