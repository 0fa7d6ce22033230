"""azd, its hooks and the workflows: what they name exists, and nothing secret passes through them."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tree_sitter import Node

from bench.capacity import report
from perdure.settings import ROOT, Settings
from tests.unit.infra.bicep import evaluate, parse, words
from tests.unit.infra.conftest import INFRA, deployed

AZD: dict[str, Any] = yaml.safe_load((ROOT / "azure.yaml").read_text("utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
HOOK = INFRA / "hooks" / "vault.py"


def hooks() -> list[tuple[str, str]]:
    """Every hook: for which system, and its script."""
    return [(system, hook["run"]) for each in AZD["hooks"].values() for system, hook in each.items()]


def test_azd_finds_the_template_the_service_and_every_hook_for_both_kinds_of_system() -> None:
    assert (ROOT / AZD["infra"]["path"] / f"{AZD['infra']['module']}.bicep").exists()
    (service,) = AZD["services"]
    assert deployed().one("Microsoft.Web/sites").body["tags"]["azd-service-name"] == service
    for system, script in hooks():
        assert Path(script).suffix == {"posix": ".sh", "windows": ".ps1"}[system]
        assert (ROOT / script).exists()
    assert {script.removesuffix(".sh") for system, script in hooks() if system == "posix"} == {
        script.removesuffix(".ps1") for system, script in hooks() if system == "windows"
    }


def test_azd_deploys_the_package_that_the_hook_builds_and_nothing_is_built_in_azure() -> None:
    service = AZD["services"]["api"]
    assert service["remoteBuild"] is False
    assert not (ROOT / service["dist"]).exists()
    provision, deploy = [step["azd"] for step in AZD["workflows"]["up"]["steps"]]
    assert provision == "provision"
    package = deploy.removeprefix("deploy api --from-package ")
    for script in ("predeploy.sh", "predeploy.ps1"):
        assert f"package.py {package} " in (INFRA / "hooks" / script).read_text("utf-8").replace("\\", "/")


@pytest.mark.parametrize("script", sorted({run for system, run in hooks() if system == "posix"}))
def test_a_shell_hook_is_executable_and_is_a_shell_script(script: str) -> None:
    assert (ROOT / script).stat().st_mode & stat.S_IXUSR
    subprocess.run(["sh", "-n", str(ROOT / script)], check=True)


@pytest.mark.parametrize("private", ["true", "false", ""])
def test_only_a_private_network_asks_for_the_provider_that_it_needs(private: str, tmp_path: Path) -> None:
    """https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#considerations"""
    az = tmp_path / "az"
    az.write_text('#!/bin/sh\necho "$@"\n')
    az.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "PERDURE_PRIVATE_NETWORK": private,
        "AZURE_SUBSCRIPTION_ID": "sub",
    }
    hook = ["sh", str(INFRA / "hooks" / "preprovision.sh")]
    asked = subprocess.run(hook, env=environment, check=True, capture_output=True, text=True).stdout
    wanted = "provider register --namespace Microsoft.App --wait --subscription sub\n"
    assert asked == (wanted if private == "true" else "")


def test_every_parameter_of_the_template_that_azd_fills_exists_and_is_documented() -> None:
    filled = json.loads((INFRA / "main.parameters.json").read_text("utf-8"))["parameters"]
    declared = {
        words(node.named_children[0])
        for node in parse(INFRA / "main.bicep").named_children
        if node.type == "parameter_declaration"
    }
    assert set(filled) <= declared
    named = set(re.findall(r"\$\{(PERDURE_[A-Z_]+)", json.dumps(filled)))
    documented = set(
        re.findall(r"^\| `(PERDURE_[A-Z_]+)`", (ROOT / "docs" / "deploy.md").read_text("utf-8"), re.MULTILINE)
    )
    assert documented == named


def test_every_value_that_a_parameter_allows_can_be_given_to_azd() -> None:
    """For azd, empty is absent: where a default is not empty, nothing may be asked for with an empty value."""
    text = (INFRA / "main.parameters.json").read_text("utf-8")
    defaults = dict(re.findall(r'"(\w+)": \{\s*"value": "\$\{\w+=([^}]*)\}"', text))
    for name in (name for name, default in defaults.items() if default):
        (declared,) = [node for node in parse(INFRA / "main.bicep").named_children if declares(node, name)]
        before = declared.prev_named_sibling
        assert before is None or ("Empty:" not in words(before) and "['', " not in words(before)), name
    assert deployed(embeddingModel="none") == deployed(embeddingModel="")


def declares(node: Node, parameter: str) -> bool:
    return node.type == "parameter_declaration" and words(node.named_children[0]) == parameter


def test_azds_defaults_are_the_templates() -> None:
    """A laptop without any variable set deploys what the template alone would."""
    text = (INFRA / "main.parameters.json").read_text("utf-8")
    text = (
        text.replace("${AZURE_ENV_NAME}", "test")
        .replace("${AZURE_LOCATION}", "here")
        .replace("${AZURE_PRINCIPAL_ID}", "")
    )
    text = re.sub(r"\$\{\w+=([^}]*)\}", r"\1", text)
    kinds = {
        words(node.named_children[0]): words(node.named_children[1])
        for node in parse(INFRA / "main.bicep").named_children
        if node.type == "parameter_declaration"
    }

    def typed(name: str, value: Any) -> Any:
        return {"int": int, "bool": lambda text: text == "true"}.get(kinds[name], lambda value: value)(value)

    given = {name: typed(name, each["value"]) for name, each in json.loads(text)["parameters"].items()}
    assert evaluate(INFRA / "main.bicep", given) == evaluate(
        INFRA / "main.bicep", {"environmentName": "test", "location": "here"}
    )


AZ = """#!{python}
import json, os, stat, sys
from pathlib import Path
arguments, log = sys.argv[1:], Path(os.environ["AZ_LOG"])
method, url = arguments[arguments.index("--method") + 1], arguments[arguments.index("--url") + 1]
record = {{"method": method, "url": url, "arguments": arguments}}
if "--body" in arguments:
    path = Path(arguments[arguments.index("--body") + 1].removeprefix("@"))
    record |= {{"file": str(path), "mode": stat.S_IMODE(path.stat().st_mode), "body": json.loads(path.read_text())}}
with log.open("a") as file:
    file.write(json.dumps(record) + "\\n")
if method == "get" and not os.environ.get("AZ_HAS_KEY"):
    sys.exit(sys.stderr.write(os.environ.get("AZ_SAYS", 'Not Found({{"error":{{"code":"SecretNotFound"}}}})')) and 3)
"""


class Azure:
    """A stand-in for the Azure CLI that writes down what it is asked."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        self._log.touch()
        az = folder / "az"
        az.write_text(AZ.format(python=sys.executable))
        az.chmod(0o755)
        self._environment = {
            "PATH": f"{folder}:{Path(sys.executable).parent}:/usr/bin:/bin", "AZ_LOG": str(self._log),
            "AZURE_SUBSCRIPTION_ID": "sub", "AZURE_RESOURCE_GROUP": "rg-test", "AZURE_KEY_VAULT_NAME": "kv-test",
            "AZURE_FUNCTION_APP_NAME": "func-test",
        }  # fmt: skip

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        chosen = command or ("sh", "infra/hooks/postprovision.sh")
        return subprocess.run(
            chosen, cwd=ROOT, env=self._environment | environment, capture_output=True, text=True, timeout=30
        )

    @property
    def asked(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@pytest.fixture
def azure(tmp_path: Path) -> Azure:
    return Azure(tmp_path)


def test_the_hook_makes_a_key_that_the_app_takes_and_shows_it_to_nobody(azure: Azure) -> None:
    ran = azure.run()
    assert ran.returncode == 0, ran.stderr
    get, put, refresh = azure.asked
    assert (get["method"], put["method"], refresh["method"]) == ("get", "put", "post")
    key = put["body"]["properties"]["value"]
    assert Settings.from_env({"PERDURE_ADMIN_KEY": key}).admin_key == key
    assert key not in ran.stdout + ran.stderr + json.dumps([put["arguments"], refresh, get])
    assert put["mode"] == 0o600
    assert not Path(put["file"]).exists()
    assert "az keyvault secret show --vault-name kv-test --name perdure-admin-key" in ran.stdout
    assert "/resourceGroups/rg-test/providers/Microsoft.Web/sites/func-test/" in refresh["url"]


def test_the_hook_leaves_a_key_that_is_there_as_it_is(azure: Azure) -> None:
    assert azure.run(AZ_HAS_KEY="yes").returncode == 0
    assert [asked["method"] for asked in azure.asked] == ["get"]


def test_rotating_replaces_the_key_and_tells_the_app(azure: Azure) -> None:
    ran = azure.run(sys.executable, str(HOOK), "--rotate", AZ_HAS_KEY="yes")
    assert ran.returncode == 0, ran.stderr
    assert [asked["method"] for asked in azure.asked] == ["put", "post"]


def test_the_key_of_a_model_elsewhere_goes_to_the_vault(azure: Azure) -> None:
    assert azure.run(AZ_HAS_KEY="yes", OPENAI_API_KEY="sk-of-the-owner").returncode == 0
    _, put, _ = azure.asked
    assert put["body"] == {"properties": {"value": "sk-of-the-owner"}}
    told = deployed(modelProvider="openAI").one("Microsoft.Web/sites/config").properties
    secret = put["url"].partition("?")[0].rsplit("/", 1)[1]
    assert told["OPENAI_API_KEY"].endswith(f"secrets/{secret})")
    assert told["PERDURE_ADMIN_KEY"].endswith("secrets/perdure-admin-key)")


def test_what_azure_refuses_stops_the_deployment_with_its_words(azure: Azure) -> None:
    ran = azure.run(AZ_SAYS="AuthorizationFailed: you may not")
    assert ran.returncode != 0
    assert "AuthorizationFailed" in ran.stderr
    assert [asked["method"] for asked in azure.asked] == ["get"]


def test_the_hook_says_what_it_needs(azure: Azure) -> None:
    ran = azure.run(AZURE_KEY_VAULT_NAME="")
    assert ran.returncode != 0
    assert "AZURE_KEY_VAULT_NAME" in ran.stderr


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_uses_no_secret_asks_for_little_and_pins_its_actions(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert "secrets." not in path.read_text("utf-8")
    allowed = {"contents": "read", "id-token": "write"}
    for permissions in [workflow["permissions"], *(job.get("permissions", {}) for job in workflow["jobs"].values())]:
        assert permissions.items() <= allowed.items()
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])
        else:
            # What comes from outside reaches a shell as a variable, never as a part of its text.
            assert "${{" not in step["run"]


def test_ci_runs_what_a_developer_runs_and_the_bicep_cli() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    run = [step["run"] for step in steps(workflow) if "run" in step]
    assert "bash .ci/run" in run
    for wanted in ("az bicep build", "az bicep lint", "az deployment sub what-if"):
        assert any(wanted in line for line in run), wanted


def test_a_deployment_from_github_has_every_parameter_that_its_environment_sets(tmp_path: Path) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text("utf-8"))
    (take,) = [step for step in steps(workflow) if step.get("env") == {"VARIABLES": "${{ toJSON(vars) }}"}]
    variables = {"PERDURE_PRIVATE_NETWORK": "true", "PERDURE_ALERT_EMAILS": "a@example.com,b@example.com", "OTHER": "x"}
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "VARIABLES": json.dumps(variables),
        "GITHUB_ENV": str(tmp_path / "env"),
    }
    subprocess.run(["bash", "-e", "-c", take["run"]], env=environment, check=True)
    taken = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert taken == {name: value for name, value in variables.items() if name != "OTHER"}
    run = [step.get("run", "") for step in steps(workflow)]
    assert run.index(take["run"]) < run.index("azd up --no-prompt")


def test_a_deployment_ends_with_a_task_that_is_answered() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text("utf-8"))
    last = steps(workflow)[-1]["run"]
    assert "python .ci/smoke.py" in last
    assert last.index("::add-mask::") < last.index("PERDURE_API_KEY=")
    assert shutil.which("python") or os.name != "posix"
    outputs = set(deployed().outputs)
    assert set(re.findall(r"\$(AZURE_KEY_VAULT_NAME|PERDURE_URL)", last)) <= outputs


def test_what_the_hooks_read_is_what_the_template_says() -> None:
    needed = set(re.findall(r'"(AZURE_[A-Z_]+)"', HOOK.read_text("utf-8")))
    assert needed - {"AZURE_SUBSCRIPTION_ID"} <= set(deployed().outputs)


def test_the_operations_page_has_the_figures_that_the_script_works_out() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    shown = page.partition("<!-- capacity -->")[2].partition("<!-- /capacity -->")[0]
    assert shown.strip() == report(), "python -m bench.capacity prints what belongs between the two comments"
    durable = json.loads((ROOT / "host.json").read_text("utf-8"))["extensions"]["durableTask"]
    for setting in ("maxConcurrentActivityFunctions", "maxConcurrentOrchestratorFunctions"):
        assert f"| `{setting}` ({durable[setting]}) |" in page
    assert f"| `partitionCount` ({durable['storageProvider']['partitionCount']}, at most 16) |" in page


def test_every_alert_is_on_the_operations_page() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    named = {each["name"] for each in json.loads((INFRA / "alerts.json").read_text("utf-8"))}
    named |= {each.name.rpartition("-")[0] for each in deployed().of("Microsoft.Insights/metricAlerts")}
    assert set(re.findall(r"^\| `([a-z-]+)` \| more than|^\| `([a-z-]+)` \| a model", page, re.MULTILINE)) == {
        (name, "") if name != "model-unavailable" else ("", name) for name in named
    }


def test_the_operations_page_says_when_an_alert_is_sent() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for alert in json.loads((INFRA / "alerts.json").read_text("utf-8")):
        (when,) = re.findall(rf"^\| `{alert['name']}` \| ([^|]+) \|", page, re.MULTILINE)
        assert f"more than {alert['threshold']} " in when, alert["name"]
        assert f"in {alert['window'].removeprefix('PT').removesuffix('M')} minutes" in when, alert["name"]


@pytest.mark.parametrize("page", ["deploy.md", "core-tools.md", "operations.md", "adr/0004-the-first-key.md"])
def test_every_file_that_the_documentation_links_to_or_names_is_there(page: str) -> None:
    path = ROOT / "docs" / page
    text = path.read_text("utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (path.parent / link).exists(), link
    for name in re.findall(r"`((?:infra|\.ci|\.github|perdure|tests|bench)/[\w./-]+\.\w+)`", text):
        assert (ROOT / name).exists(), name
