"""The route table and the app it describes."""

import json
import subprocess
import sys
from pathlib import Path

from perdure.api.routes import ROUTES
from perdure.domain.principal import SCOPES

ROOT = Path(__file__).resolve().parents[2]

OPEN = {"health", "openapi.json", "docs", "docs/{asset}"}
"""Paths that need no credential."""

LIST_BOUND = """
import function_app, json
bound = []
for function in function_app.app.get_functions():
    trigger = function.get_trigger().get_dict_repr()
    if trigger["type"] == "httpTrigger" and not function.get_function_name().startswith("BuiltIn__"):
        bound += [[method.value, trigger["route"]] for method in trigger["methods"]]
print(json.dumps(bound))
"""


def test_the_app_binds_every_route_of_the_table_and_no_other() -> None:
    listed = subprocess.run([sys.executable, "-c", LIST_BOUND], cwd=ROOT, check=True, capture_output=True, text=True)
    assert sorted(json.loads(listed.stdout)) == sorted([route.method, route.path] for route in ROUTES)


def test_every_route_has_a_scope_that_exists_except_those_that_are_open() -> None:
    assert {route.path for route in ROUTES if route.scope is None} == OPEN
    assert {route.scope for route in ROUTES} - {None} <= set(SCOPES)
