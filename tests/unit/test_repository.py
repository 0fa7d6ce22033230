"""What holds the repository together: names, settings, and what is deployed."""

import ast
import dataclasses
import json
import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from perdure.bootstrap import tools
from perdure.domain.names import ACTIVITIES, ORCHESTRATORS, tool_activity
from perdure.retention import Retention
from perdure.settings import LIMITS

ROOT = Path(__file__).resolve().parents[2]
DEPLOYED = {
    "activities", "agents", "function_app.py", "host.json", "orchestrators", "perdure", "requirements.txt", "triggers",
}  # fmt: skip
PURE = (
    "orchestrators", "perdure.domain", "durabletask", "azure.durable_functions",
    "collections.abc", "dataclasses", "datetime", "typing",
)  # fmt: skip
"""What an orchestrator may import. Everything else may read a clock, a file or the network."""

SCREEN, LONGEST = 110, 400
"""Most lines of a file in triggers/, orchestrators/ or activities/, and of any other."""

HEAVY = (
    "openai",
    "azure.cosmos",
    "azure.identity",
    "numpy",
    "pint",
    "opentelemetry.sdk",
    "opentelemetry.exporter",
    "azure.monitor",
    "aiohttp",
    "genai_prices",
)


def ignored() -> list[str]:
    lines = (ROOT / ".funcignore").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def tracked_root() -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {path.split("/")[0] for path in listed.splitlines()}


def test_every_root_entry_is_deployed_or_ignored_and_never_both() -> None:
    patterns = ignored()
    unclassified = {
        name
        for name in tracked_root()
        if (name in DEPLOYED) == any(fnmatch(name, pattern.removeprefix("/")) for pattern in patterns)
    }
    assert unclassified == set()
    assert tracked_root() >= DEPLOYED


def python_files(*places: str) -> list[Path]:
    """Every Python file git knows, or those in some folders of the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = [ROOT / name for name in listed.splitlines() if not places or name.split("/")[0] in places]
    return [path for path in found if path.exists()]


def imports(path: Path) -> set[str]:
    """Every module a file imports, wherever in it; what is imported from a package counts as `package.name`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return found


def test_nothing_deployed_imports_the_devhost_or_the_tests() -> None:
    files = python_files(*DEPLOYED)
    assert files
    for path in files:
        assert not {name.split(".")[0] for name in imports(path)} & {"devhost", "tests", "bench"}, path


@pytest.mark.parametrize("path", python_files("orchestrators"), ids=lambda path: path.name)
def test_an_orchestrator_imports_nothing_but_the_domain_durable_types_and_plain_data(path: Path) -> None:
    foreign = {name for name in imports(path) if not any(f"{name}.".startswith(f"{may}.") for may in PURE)}
    assert foreign == set()


def test_one_module_alone_imports_the_sdk_and_the_exporters_of_opentelemetry() -> None:
    """import-linter tells apart no packages of others below their first name."""
    heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "azure.monitor")
    found = {path.name for path in python_files(*DEPLOYED) if any(name.startswith(heavy) for name in imports(path))}
    assert found == {"exporters.py"}


@pytest.mark.parametrize("path", python_files("orchestrators"), ids=lambda path: path.name)
def test_an_orchestrator_asks_no_clock_and_imports_nothing_behind_our_back(path: Path) -> None:
    used = {node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)}
    names = {node.id for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Name)}
    assert not (used | names) & {"now", "utcnow", "today", "__import__", "eval", "exec", "open"}


def test_what_the_functions_host_reads_fits_about_one_screen_and_no_file_is_long() -> None:
    for path in python_files():
        name = path.relative_to(ROOT).as_posix()
        usual = SCREEN if name.split("/")[0] in ("triggers", "orchestrators", "activities") else LONGEST
        lines = len(path.read_text("utf-8").splitlines())
        assert lines <= usual, f"{name} has {lines} lines"


def in_a_fresh_process(code: str, **settings: str) -> str:
    command, environment = [sys.executable, "-c", code], {**os.environ, **settings}
    run = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return run.stdout.strip()


def test_the_names_that_are_scheduled_are_the_names_that_are_registered() -> None:
    code = (
        "import function_app, json\n"
        "found = [(f.get_function_name(), f.get_trigger().type) for f in function_app.app.get_functions()]\n"
        "print(json.dumps(found))"
    )
    found: list[tuple[str, str]] = json.loads(in_a_fresh_process(code))
    # The SDK adds its own pair for durable HTTP calls.
    ours = [(name, kind) for name, kind in found if not name.startswith("BuiltIn__")]
    assert {name for name, kind in ours if kind == "orchestrationTrigger"} == set(ORCHESTRATORS)
    expected = {*ACTIVITIES, *(tool_activity(tool.name) for tool in tools())}
    assert {name for name, kind in ours if kind == "activityTrigger"} == expected


def test_importing_the_app_loads_nothing_heavy() -> None:
    code = (
        "import sys, azure.durable_functions, azurefunctions.extensions.http.fastapi\n"
        "before = set(sys.modules)\n"
        "import function_app\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules and name not in before])"
    )
    assert in_a_fresh_process(code) == "[]"


WATCHED = """
import json, os, sys

opened = []


def watch(event, arguments):
    match event, arguments:
        case "open", (path, mode, flags) if (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            opened.append(f"{event} {path}")
        case ("sqlite3.connect" | "socket.connect" | "socket.bind" | "socket.getaddrinfo" | "subprocess.Popen"), _:
            opened.append(event)


sys.dont_write_bytecode = True
sys.addaudithook(watch)
import function_app

at_import = list(opened)
from perdure.bootstrap import services

services()
print(json.dumps([at_import, opened]))
"""


def test_importing_the_app_opens_no_connection_and_writes_no_file(tmp_path: Path) -> None:
    """The services' first use opens the store, which shows that the watch sees such things."""
    state = tmp_path / "state.db"
    at_import, at_first_use = json.loads(in_a_fresh_process(WATCHED, PERDURE_STATE=f"sqlite:{state}"))
    assert at_import == []
    assert "sqlite3.connect" in at_first_use


def settings_of_the_code() -> set[str]:
    kept = {f"PERDURE_KEEP_{field.name.upper()}_DAYS" for field in dataclasses.fields(Retention)}
    limits = {f"PERDURE_LIMIT_{rate.upper()}" for rate in LIMITS}
    files = ("settings.py", "alert_settings.py", "allowances.py", "telemetry/settings.py")
    code = "".join((ROOT / "perdure" / name).read_text("utf-8") for name in files)
    return kept | limits | set(re.findall(r'"((?:PERDURE|OPENAI|AZURE_OPENAI|COSMOS|OTEL)_[A-Z_]+)"', code))


def test_every_setting_is_in_the_readme_and_in_the_settings_example() -> None:
    table = set(re.findall(r"^\| `([A-Z]+_[A-Z_]+)`", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert table == settings_of_the_code()
    example = json.loads((ROOT / "local.settings.json.example").read_text("utf-8"))["Values"]
    ours = {name for name in example if name.startswith(("PERDURE_", "OPENAI_", "AZURE_OPENAI_", "COSMOS_", "OTEL_"))}
    assert ours == settings_of_the_code()


def test_the_settings_example_holds_no_secret_and_what_func_start_needs() -> None:
    example: dict[str, Any] = json.loads((ROOT / "local.settings.json.example").read_text("utf-8"))
    values = example["Values"]
    assert values["AzureWebJobsStorage"] == "UseDevelopmentStorage=true"
    assert values["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert [name for name, value in values.items() if "KEY" in name and value] == []


def test_host_json_names_the_task_hub_the_bundle_and_opentelemetry() -> None:
    host = json.loads((ROOT / "host.json").read_text("utf-8"))
    assert host["telemetryMode"] == "OpenTelemetry"
    assert host["extensions"]["durableTask"]["hubName"] == "PerdureHub"
    assert host["extensionBundle"] == {
        "id": "Microsoft.Azure.Functions.ExtensionBundle.Preview",
        "version": "[4.*, 5.0.0)",
    }


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt", "requirements-infra.txt"])
def test_every_locked_version_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    pins = re.findall(r"^([a-z0-9][^\s=]*==\S+)(.*)$", text, re.MULTILINE)
    assert pins
    assert all(rest.endswith("\\") for _, rest in pins)
    assert "http://" not in text
    assert "https://" not in text


EVER_BETA = {
    "azure-monitor-opentelemetry-exporter",
    "opentelemetry-exporter-http-transport",
    "opentelemetry-exporter-otlp-common",
    "opentelemetry-semantic-conventions",
}
"""Packages that have only ever been published as betas. Stable ones depend on each of them."""


def test_only_the_durable_package_is_a_pre_release() -> None:
    pins = re.findall(r"^([a-z0-9][^\s=]*)==(\S+)", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    betas = {name for name, version in pins if re.search(r"(a|b|rc|dev)\d+$", version)}
    assert betas == {"azure-functions-durable", *EVER_BETA}


def test_every_direct_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    locked = set(re.findall(r"^([a-z0-9][^\s=]*)==", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE))
    wanted = {re.split(r"[\[<>=]", line)[0] for line in project["project"]["dependencies"]}
    assert wanted <= locked
