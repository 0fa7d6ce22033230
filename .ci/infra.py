"""Is infra/ sound? Two parsers read every Bicep file, and checkov judges it. A file that cannot be read is a failure.

    python .ci/infra.py

checkov has an environment of its own, .venv-infra, for its dependencies and the app's exclude each other. `make check`
makes it. What checkov finds fails unless it is in ACCEPTED with its reason; a reason no longer needed fails, too.
"""

import json
import subprocess
import sys
from pathlib import Path

import tree_sitter_bicep
from lark.exceptions import LarkError
from pycep import BicepParser
from tree_sitter import Language, Node, Parser

ROOT = Path(__file__).resolve().parent.parent
INFRA = ROOT / "infra"
CHECKOV = ROOT / ".venv-infra" / "bin" / "checkov"

ACCEPTED = {
    "CKV_AZURE_225 plan": "zoneRedundant is a parameter: zones cost instances that a small deployment does not need",
    "CKV_AZURE_206 account": "zoneRedundant chooses ZRS; across regions a task hub cannot be moved anyway",
    "CKV_AZURE_212 app": "Flex Consumption has no minimum of instances; alwaysReadyDurable and alwaysReadyHttp are it",
    "CKV_AZURE_213 app": "Flex Consumption has no health check; alerts and GET /api/health are it",
    "CKV_AZURE_101 account": "privateNetwork closes it, a parameter that checkov does not follow; tests do",
    "CKV_AZURE_99 account": "the same",
    "CKV_AZURE_35 account": "the same",
    "CKV_AZURE_109 vault": "the same",
    "CKV_AZURE_134 account": "the same",
    "CKV_AZURE_222 app": "privateApi closes it; an API is there to be called, and every route asks for a credential",
    "CKV_AZURE_174 gateway": "the gateway is the public side of a private API",
    "CKV_AZURE_17 app": "callers have keys or tokens, not certificates",
    "CKV_AZURE_238 account": "the app's identity calls the model; the model calls nothing",
    "CKV_AZURE_110 vault": "both secrets can be made again at any time, and purge protection would keep an environment "
    "that was taken down from being set up again under its name for 90 days",
    "CKV_AZURE_42 vault": "the same",
    "CKV_AZURE_78 app": "Flex Consumption refuses ftpsState, for it has no FTP; the credential for it is off as well",
    "CKV_AZURE_13 appSettings": "checkov takes the app's settings for another app",
    "CKV_AZURE_222 appSettings": "the same",
    "CKV_AZURE_63 appSettings": "the same",
    "CKV_AZURE_65 appSettings": "the same",
    "CKV_AZURE_66 appSettings": "the same",
    "CKV_AZURE_80 appSettings": "the same",
    "CKV_AZURE_88 appSettings": "the same",
}
"""Findings that stand: `<check> <symbol>`, and why."""

BROKEN = {"CKV_AZURE_189": "fails on any value that is not a literal; CKV_AZURE_109 asks the same"}
"""Checks of checkov itself that crash."""

UNREAD = {"modules/budget.bicep": "checkov's parser is older than onlyIfNotExists, and it has no check of a budget"}
"""Files that checkov is not given; the two parsers here read them all."""


def main() -> int:
    wrong = [line for path in sorted(INFRA.rglob("*.bicep")) for line in unreadable(path)]
    wrong += findings()
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


def unreadable(path: Path) -> list[str]:
    name = path.relative_to(ROOT).as_posix()
    root = Parser(Language(tree_sitter_bicep.language())).parse(path.read_bytes()).root_node
    wrong = [f"{name}:{line}: tree-sitter-bicep cannot read it" for line in errors(root)]
    try:
        BicepParser().parse(file_path=path)
    except LarkError as error:
        wrong.append(f"{name}: pycep cannot read it: {str(error).splitlines()[0]}")
    return wrong


def errors(node: Node) -> list[int]:
    here = [node.start_point.row + 1] if node.is_error or node.is_missing else []
    return here + [line for child in node.children for line in errors(child)]


def findings() -> list[str]:
    command = [
        str(CHECKOV), "--directory", str(INFRA), "--framework", "bicep", "--skip-download", "--compact", "--quiet",
        "--soft-fail", "--skip-check", ",".join(BROKEN), "--output", "json",
        *(option for path in UNREAD for option in ("--skip-path", path)),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode or "[ERROR]" in ran.stderr:
        return [f"checkov failed: {ran.stderr.strip()[-2000:]}"]
    report = json.loads(ran.stdout)
    files = {path.relative_to(INFRA).as_posix() for path in INFRA.rglob("*.bicep")} - UNREAD.keys()
    wrong = [f"checkov cannot read {path}" for path in report["results"].get("parsing_errors", [])]
    if report["summary"]["parsing_errors"] or report["summary"]["resource_count"] < len(files):
        wrong.append(f"checkov read too little: {report['summary']}")
    found = {
        f"{each['check_id']} {each['resource'].rpartition('.')[2]}": each for each in report["results"]["failed_checks"]
    }
    for name in sorted(found.keys() - ACCEPTED.keys()):
        each = found[name]
        wrong.append(f"infra{each['file_path']}:{each['file_line_range'][0]}: {name}: {each['check_name']}")
    wrong += [
        f".ci/infra.py: {name} is not found any more; take it out" for name in sorted(ACCEPTED.keys() - found.keys())
    ]
    return wrong


if __name__ == "__main__":
    sys.exit(main())
