"""A new version is deployed while a task waits for a person: the task ends as it began, the next one begins anew."""

import json
from pathlib import Path
from typing import Any

from tests.api.test_task_loop import call, results
from tests.app import App, ScriptedProvider, make_app_folder, until
from tests.devhost_process import REPOSITORY
from tests.openai_server import Answer

BEFORE = """
name: clerk
description: A clerk.
instructions: This is version one.
tools: [transfer, echo, refuse]
approval: {transfer: always}
limits: {max_steps: 3}
"""
AFTER = """
name: clerk
description: A clerk.
instructions: This is version two.
tools: [echo]
limits: {max_steps: 1}
"""


def deploy(folder: Path) -> None:
    """Change the agent in all respects, one tool's signature, and drop another tool."""
    (folder / "agents" / "clerk.yaml").write_text(AFTER, "utf-8")
    tools = folder / "activities" / "tools" / "fault_tools.py"
    text = tools.read_text("utf-8")
    changed = text.replace("def echo(text: str) -> str:", "def echo(words: list[str], text: str = '') -> str:")
    changed = changed.replace("        text: The text.\n", "        words: The words.\n        text: The text.\n")
    changed = changed.replace("@tool\ndef refuse(", "def refuse(")
    assert changed.count("words: ") == 2
    tools.write_text(changed, "utf-8")


def priced(input: int, output: int) -> dict[str, str]:
    return {"PERDURE_PRICES": json.dumps({"scripted": {"input": input, "output": output}})}


def schemas(asked: dict[str, Any]) -> dict[str, list[str]]:
    return {tool["function"]["name"]: list(tool["function"]["parameters"]["properties"]) for tool in asked["tools"]}


def test_a_task_that_began_before_a_deployment_ends_under_its_own_definition(
    provider: ScriptedProvider, tmp_path: Path
) -> None:
    folder = make_app_folder(tmp_path / "app", [REPOSITORY / "tests" / "fault_tools.py"], {"clerk": BEFORE})
    hub, ledger = ["--state", str(tmp_path / "hub")], tmp_path / "ledger"
    ledger.mkdir()
    seen: list[dict[str, Any]] = []

    def go_on(asked: dict[str, Any]) -> Answer:
        seen.append(asked)
        return Answer(calls=(call("echo", 0, text="x"), call("refuse", 1, message="no")), usage=(200, 20))

    def end(asked: dict[str, Any]) -> Answer:
        seen.append(asked)
        return Answer("Done.", usage=(300, 30))

    def begin_anew(asked: dict[str, Any]) -> Answer:
        seen.append(asked)
        return Answer("New.", usage=(1, 1))

    first = Answer(calls=(call("transfer", amount=1, folder=str(ledger)),), usage=(100, 10))
    query = provider.plan("Pay one", [first, go_on, end])
    env = {"OPENAI_BASE_URL": provider.server.base_url, "PERDURE_MODEL": "scripted"}
    with App(folder, env | priced(1, 2), hub) as app:
        task_id = app.start(query, agent="clerk")["task_id"]
        [waiting] = until(lambda: app.client.get("/approvals").json()["approvals"], bool)
    deploy(folder)
    with App(folder, env | priced(100, 200), hub) as app:
        url = f"/agent/task/{task_id}/approvals/{waiting['call_id']}"
        assert app.client.post(url, json={"decision": "approve"}).status_code == 200
        old = app.finish(task_id)
        new = app.run(provider.plan("Pay none", [begin_anew]), agent="clerk")
    provider.verify()

    assert (old["result"], old["usage"]["cost_usd"]) == ("Done.", 0.00072)
    assert len(list(ledger.iterdir())) == 1
    for asked in seen[:2]:
        assert asked["messages"][0]["content"] == "This is version one."
        assert schemas(asked) == {"transfer": ["amount", "folder", "note"], "echo": ["text"], "refuse": ["message"]}
    paid, changed, gone = results(seen[1])
    assert paid == "moved 1"
    assert changed.startswith("Error: echo was changed since this task began")
    assert "words is missing" in changed
    assert gone.startswith("Error: The tool 'refuse' is not available any more")

    assert (new["result"], new["usage"]["cost_usd"]) == ("New.", 0.0003)
    assert seen[2]["messages"][0]["content"] == "This is version two."
    assert schemas(seen[2]) == {"echo": ["words", "text"]}
