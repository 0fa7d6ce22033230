"""The deployment package, built as the pipeline builds it, in an empty folder, with its own dependencies alone."""

import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.app import ADMIN_KEY
from tests.devhost_process import REPOSITORY, DevHost

PACKAGE, SMOKE = REPOSITORY / ".ci" / "package.py", REPOSITORY / ".ci" / "smoke.py"
DEPENDENCIES = ".python_packages/lib/site-packages"
ONLY_THE_PATH = (sys.executable, "-S", "-P")
"""No site-packages and no current folder: PYTHONPATH is all there is besides the standard library."""

HOST_NEEDS = ("azure-functions-runtime", "uvicorn", "croniter")
"""What a host brings, as Azure's does, and no package has."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "perdure.zip"
    subprocess.run([sys.executable, str(PACKAGE), str(path)], check=True, capture_output=True, timeout=300)
    return path


@pytest.fixture(scope="module")
def folder(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wwwroot")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def host_libraries(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the devhost and what it needs besides the package."""
    libraries = tmp_path_factory.mktemp("host")
    (libraries / "devhost").symlink_to(REPOSITORY / "devhost")
    present = {path.name for path in (folder / DEPENDENCIES).iterdir()}
    wanted, seen = list(HOST_NEEDS), set[str]()
    while wanted:
        name = re.split(r"[\s<>=!~;\[(]", wanted.pop())[0]
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # For another platform, or an extra nobody asked for.
        wanted += [need for need in distribution.requires or [] if "extra ==" not in need]
        for top in {Path(str(file)).parts[0] for file in distribution.files or []} - present - {"..", "__pycache__"}:
            if not (libraries / top).exists():
                (libraries / top).symlink_to(Path(str(distribution.locate_file(top))))
    return libraries


@pytest.fixture(scope="module")
def environment(folder: Path, host_libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    state = tmp_path_factory.mktemp("state") / "state.db"
    path = os.pathsep.join(map(str, (folder / DEPENDENCIES, folder, host_libraries)))
    return {"PYTHONPATH": path, "PERDURE_STATE": f"sqlite:{state}", "PERDURE_ADMIN_KEY": ADMIN_KEY}


@pytest.fixture(scope="module")
def host(folder: Path, environment: dict[str, str]) -> Iterator[DevHost]:
    with DevHost(folder, environment, python=ONLY_THE_PATH) as host:
        yield host


def test_the_main_job_works_in_it(host: DevHost) -> None:
    """Run by the same script that a pipeline runs against Azure."""
    smoke = [sys.executable, str(SMOKE), host.url]
    ran = subprocess.run(
        smoke, env={**os.environ, "PERDURE_API_KEY": ADMIN_KEY}, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr + host.output
    assert "391" in ran.stdout
    assert ADMIN_KEY not in ran.stdout


def test_the_smoke_test_fails_where_the_key_is_wrong(host: DevHost) -> None:
    smoke = [sys.executable, str(SMOKE), host.url]
    ran = subprocess.run(
        smoke, env={**os.environ, "PERDURE_API_KEY": "wrong"}, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 1
    assert "401" in ran.stderr


def test_the_app_and_all_it_uses_come_from_the_package(folder: Path, environment: dict[str, str]) -> None:
    heavy = ["openai", "azure.cosmos.aio", "azure.identity.aio", "numpy", "pint", "jwt", "aiohttp", "genai_prices"]
    code = (
        f"import sys, function_app, importlib\nfor name in {heavy!r}: importlib.import_module(name)\n"
        "print('\\n'.join(str(getattr(m, '__file__', None) or '') for m in list(sys.modules.values())))"
    )
    ran = subprocess.run(
        [*ONLY_THE_PATH, "-c", code], env={**os.environ, **environment}, cwd=folder, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    # The venv's interpreter, whose standard library is elsewhere, has its packages in one place.
    assert not [line for line in ran.stdout.splitlines() if line.startswith(f"{sys.prefix}/lib")]
    assert any(line.startswith(str(folder / DEPENDENCIES / "openai")) for line in ran.stdout.splitlines())


def test_it_holds_what_git_knows_and_funcignore_leaves_and_dependencies_and_nothing_else(archive: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    top = {"activities", "agents", "function_app.py", "host.json", "orchestrators", "perdure", "requirements.txt"}
    expected = {name for name in tracked.splitlines() if name.split("/")[0] in top | {"triggers"}}
    own = {name for name in names if not name.startswith(".python_packages/") and "__pycache__/" not in name}
    assert own == {name for name in expected if (REPOSITORY / name).exists()}


def test_it_holds_no_test_no_document_and_no_secret(archive: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        for name in packed.namelist():
            assert not {"tests", "docs"} & set(name.split("/")), name
            assert not re.search(r"(^|/)(\.env|local\.settings)|\.(key|pfx|db)$", name), name
            if name.endswith(".pem"):
                assert b"PRIVATE" not in packed.read(name), name
        readable = (name for name in packed.namelist() if not name.startswith(".python_packages/"))
        text = " ".join(packed.read(name).decode(errors="replace") for name in readable)
    assert not re.search(r"AccountKey=[A-Za-z0-9+/]{20}|pdk_[0-9a-f]{16}|sk-[A-Za-z0-9]{20}|-----BEGIN", text)


def test_every_module_in_it_is_compiled_and_no_start_checks_that_again(archive: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        names = set(packed.namelist())
        for name in names:
            if name.endswith(".py") and not name.startswith(".python_packages/"):
                folder, _, module = name.rpartition("/")
                compiled = f"{folder}/__pycache__/{module[:-3]}.cpython-313.pyc".lstrip("/")
                # The second word of the header: 1 is a hash that is not checked.
                assert packed.read(compiled)[4:8] == b"\x01\x00\x00\x00", name


def test_a_package_for_the_scheduler_differs_in_host_json_alone(tmp_path: Path) -> None:
    copy = load_script().copy
    plain, changed = tmp_path / "plain", tmp_path / "changed"
    copy(plain, "storage")
    copy(changed, "scheduler")
    files = {path.relative_to(plain) for path in plain.rglob("*") if path.is_file()}
    assert files == {path.relative_to(changed) for path in changed.rglob("*") if path.is_file()}
    differing = {file for file in files if (plain / file).read_bytes() != (changed / file).read_bytes()}
    assert differing == {Path("host.json")}
    expected = json.loads((plain / "host.json").read_text("utf-8"))
    expected["extensions"]["durableTask"]["storageProvider"] = {
        "type": "azureManaged",
        "connectionStringName": "DURABLE_TASK_SCHEDULER_CONNECTION_STRING",
    }
    assert json.loads((changed / "host.json").read_text("utf-8")) == expected


def test_a_line_of_funcignore_that_would_be_read_differently_elsewhere_is_refused() -> None:
    script = load_script()
    for line in ("!keep", "docs/api.md", "**/x", "[ab]"):
        with pytest.raises(script.IgnoreError, match="not understood"):
            script.Ignored(line)
    ignored = script.Ignored("# note\n/docs\n*.egg-info\n")
    assert [ignored.covers(Path(p)) for p in ("docs", "perdure/docs", "x.egg-info", "a/x.egg-info", "perdure")] == [
        True, False, True, True, False,
    ]  # fmt: skip


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("package_script", PACKAGE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
