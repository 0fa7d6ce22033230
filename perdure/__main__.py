"""Commands for whoever runs the app: `python -m perdure key` makes an API key, `check` says whether it can start,
`trace` draws what a task did."""

import argparse
import asyncio
import json
import os
import shlex
import sys
from datetime import UTC, datetime, timedelta

from perdure.agents import AgentError, load_agents
from perdure.bootstrap import build, guard_logs, open_documents, tools
from perdure.documents.port import DocumentError
from perdure.domain.principal import SCOPES, Principal, check_names
from perdure.settings import ROOT, Settings, SettingsError
from perdure.stores.embedding_space import EmbeddingsMismatch
from perdure.stores.keys import KeyStore
from perdure.stores.tasks import TaskStore
from perdure.telemetry.tree import tree

LOCAL_SETTINGS = ROOT / "local.settings.json"
QUERY = (
    "What is 17 * 23, what time is it in Tokyo, how many miles are 42 km, how many pounds are 5 kg, "
    "and what is 100 F in C?"
)
WELCOME = """
Post a task:

  curl -s {url}/api/agent/task -H "X-API-Key: {key}" \\
    -d {body}

It answers 202 with the status URLs. Follow "statusQueryGetUri" until the status is Completed, or look at the whole
task, with its thoughts and tool calls, at {url}/api/agent/task/<task_id> with the same header.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m perdure", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    key = commands.add_parser("key", help="make an API key and print it; it cannot be shown again")
    key.add_argument("--tenant", default="default")
    key.add_argument("--user", default="developer")
    key.add_argument(
        "--scope", action="append", choices=SCOPES, help="what it is good for; may be repeated (default: admin)"
    )
    key.add_argument("--label", default="", help="what it is for")
    key.add_argument("--expires-days", type=_days, metavar="DAYS", help="how long it is good for (default: for ever)")
    welcome = commands.add_parser("welcome", help="print how to post a task to a running app, with a first API key")
    welcome.add_argument("url", help="where the app listens, such as http://127.0.0.1:7071")
    trace = commands.add_parser("trace", help="draw what a task did, when, and what it cost, from what is stored of it")
    trace.add_argument("task", help="its id")
    trace.add_argument("--tenant", default="default")
    commands.add_parser("check", help="say whether settings, agents and store fit together; fail if they do not")
    arguments = parser.parse_args()
    if arguments.command == "key":
        try:
            check_names(arguments.tenant, arguments.user)
        except ValueError as error:
            key.error(str(error))
    try:
        settings = Settings.from_env(_local_values() | dict(os.environ))
        match arguments.command:
            case "key":
                owner = Principal(arguments.tenant, arguments.user, frozenset(arguments.scope or ["admin"]))
                expires_at = arguments.expires_days and datetime.now(UTC) + arguments.expires_days
                print(asyncio.run(_make_key(settings, owner, arguments.label, expires_at)))
            case "trace":
                print(asyncio.run(_trace(settings, arguments.tenant, arguments.task)))
            case "check":
                asyncio.run(_check(settings))
                print("Settings, agents and store fit together.")
            case _:
                print(asyncio.run(_welcome(settings, arguments.url)))
    except (SettingsError, AgentError, DocumentError, EmbeddingsMismatch) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _local_values() -> dict[str, str]:
    """Settings the local host would give the app; the environment goes before them."""
    if not LOCAL_SETTINGS.exists():
        return {}
    try:
        values = json.loads(LOCAL_SETTINGS.read_text("utf-8-sig"))["Values"]
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    except KeyError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"{LOCAL_SETTINGS}: {error}") from error


def _days(text: str) -> timedelta:
    days = float(text)
    if not 0 < days <= 36_500:
        raise argparse.ArgumentTypeError(f"{text} is not a number of days above 0 and up to 36500")
    return timedelta(days=days)


async def _check(settings: Settings) -> None:
    """Do what the app does at its start and what it would find out at its first request."""
    guard_logs(settings)
    agents = load_agents(settings.agents_dir, settings.default_agent, tools())
    app = build(settings, agents, tools(), open_documents(settings))
    try:
        await app.ingestion.check()
    finally:
        await app.documents.close()


async def _trace(settings: Settings, tenant: str, task: str) -> str:
    documents = open_documents(settings)
    try:
        return tree(await TaskStore(documents).record(tenant, task))
    finally:
        await documents.close()


async def _make_key(settings: Settings, owner: Principal, label: str, expires_at: datetime | None = None) -> str:
    documents = open_documents(settings)
    try:
        return (await KeyStore(documents).issue(owner, label, expires_at)).text
    finally:
        await documents.close()


async def _welcome(settings: Settings, url: str) -> str:
    documents = open_documents(settings)
    try:
        first = not await KeyStore(documents).any_exists()
    finally:
        await documents.close()
    body = shlex.quote(json.dumps({"query": QUERY}))
    if not first:
        return WELCOME.format(url=url, key="$PERDURE_API_KEY", body=body) + "\n'make key' makes another API key.\n"
    key = await _make_key(settings, Principal("default", "developer", frozenset({"admin"})), "first key")
    return f"\nYour API key, shown this once: {key}\n" + WELCOME.format(url=url, key=key, body=body)


if __name__ == "__main__":
    sys.exit(main())
