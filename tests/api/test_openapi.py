"""The OpenAPI document against the app it describes."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from perdure.api.routes import DECIDE_APPROVAL, ROUTES, Route
from tests.api.test_approvals import DANGEROUS, wait_for_call
from tests.api.test_unknown_outcomes import unsure
from tests.app import App, ScriptedProvider, make_app_folder, until
from tests.devhost_process import REPOSITORY
from tests.openai_server import Answer

CASES = 80
"""Requests made up for each operation in each phase. It comes to some thousands in all."""

CONFIG = Path(__file__).with_name("schemathesis.toml")

SEED = 1
"""The same requests every time: what is found can be found again."""

UNCHECKED = "unsupported_method"
"""The one check that is left out: the Functions host, and not the app, answers a method no route has, with 404."""


def test_the_document_is_valid_openapi(app: App) -> None:
    document = httpx.get(f"{app.host.url}/api/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert {(method.upper(), path[1:]) for path, item in document["paths"].items() for method in item} == {
        (route.method, route.path) for route in ROUTES
    }


def question(app: App, provider: ScriptedProvider, body: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """What names a call that waits for such a decision."""
    asking = DANGEROUS if "decision" in body else unsure(folder / "sent")
    query = provider.plan(f"To be decided: {body}", [asking])
    task_id = app.start(query, agent="faulty")["task_id"]
    return {"task_id": task_id, "approval_id": wait_for_call(app.client, task_id)["approval_id"]}


EXAMPLES = [(route, name) for route in ROUTES for name in route.examples]


@pytest.mark.usefixtures("rested_tools")
@pytest.mark.parametrize(("route", "name"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else value.path)
def test_an_example_of_the_documentation_is_taken(
    app: App, provider: ScriptedProvider, route: Route, name: str, tmp_path: Path
) -> None:
    things = question(app, provider, route.examples[name], tmp_path) if route is DECIDE_APPROVAL else {}
    with provider.answering("", lambda _: Answer("Done.")):
        response = app.client.request(route.method, f"/{route.path.format(**things)}", json=route.examples[name])
        assert response.status_code in route.answers, response.text
        if things:
            app.finish(things["task_id"])
        if response.status_code == 202:
            url = response.json()["statusQueryGetUri"]
            until(lambda: httpx.get(url), lambda response: response.status_code != 202)


def test_the_documentation_page_loads_nothing_from_elsewhere(app: App) -> None:
    page = httpx.get(f"{app.host.url}/api/docs")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 4
    for address in loaded:
        assert httpx.get(f"{app.host.url}/api/{address}").status_code == 200, address
    slashed = httpx.get(f"{app.host.url}/api/docs/")
    assert slashed.is_redirect
    assert slashed.next_request and slashed.next_request.url == page.url
    assert httpx.get(f"{app.host.url}/api/docs/passwd").status_code == 404
    assert httpx.get(f"{app.host.url}/api/docs/..%2f__init__.py").status_code == 404


@pytest.mark.timeout(400)
def test_thousands_of_made_up_requests_find_the_app_as_documented(tmp_path: Path) -> None:
    # An app of its own: hundreds of tasks would keep the one that the other tests share busy for a while.
    with App(make_app_folder(tmp_path / "app")) as app:
        command = [
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG),
            "run", f"{app.host.url}/api/openapi.json",
            "--checks", "all", "--exclude-checks", UNCHECKED, "--max-examples", str(CASES), "--continue-on-failure",
            "--header", f"X-API-Key: {app.client.headers['X-API-Key']}",
            "--seed", str(SEED), "--generation-database", "none",
        ]  # fmt: skip
        hooks = {"SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks", "PYTHONPATH": str(REPOSITORY)}
        environment = {**os.environ, **hooks}
        run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=380)
    said = run.stdout[-12_000:]
    assert run.returncode == 0, said
    generated = re.search(r"(\d+) generated", said)
    assert generated, said
    assert int(generated[1]) > 2000, said
