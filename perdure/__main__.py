"""Commands for whoever runs the app: `python -m perdure key` makes an API key, `check` says whether it can start."""

import argparse
import asyncio
import json
import os
import shlex
import sys

from perdure.agents import AgentError, load_agents
from perdure.bootstrap import build, guard_logs, open_documents, tools
from perdure.documents.port import DocumentError
from perdure.domain.principal import SCOPES, Principal
from perdure.settings import ROOT, Settings, SettingsError
from perdure.stores.embedding_space import EmbeddingsMismatch
from perdure.stores.keys import KeyStore

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
    key.add_argument("--tenant", default="default", type=_name)
    key.add_argument("--user", default="developer", type=_name)
    key.add_argument(
        "--scope", action="append", choices=SCOPES, help="what it is good for; may be repeated (default: admin)"
    )
    welcome = commands.add_parser("welcome", help="print how to post a task to a running app, with a first API key")
    welcome.add_argument("url", help="where the app listens, such as http://127.0.0.1:7071")
    commands.add_parser("check", help="say whether settings, agents and store fit together; fail if they do not")
    arguments = parser.parse_args()
    try:
        settings = Settings.from_env(_local_values() | dict(os.environ))
        match arguments.command:
            case "key":
                print(asyncio.run(_make_key(settings, arguments.tenant, arguments.user, arguments.scope)))
            case "check":
                asyncio.run(_check(settings))
                print("Settings, agents and store fit together.")
            case _:
                print(asyncio.run(_welcome(settings, arguments.url)))
    except (SettingsError, AgentError, DocumentError, EmbeddingsMismatch) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _name(text: str) -> str:
    if not (1 <= len(text.strip()) == len(text) <= 128 and text.isprintable()):
        raise argparse.ArgumentTypeError("must be 1 to 128 characters that can be printed, without spaces around them")
    return text


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


async def _check(settings: Settings) -> None:
    """Do what the app does at its start and what it would find out at its first request."""
    guard_logs(settings)
    agents = load_agents(settings.agents_dir, settings.default_agent, tools())
    app = build(settings, agents, tools(), open_documents(settings))
    try:
        await app.ingestion.check()
    finally:
        await app.documents.close()


async def _make_key(settings: Settings, tenant: str, user: str, scopes: list[str] | None) -> str:
    documents = open_documents(settings)
    try:
        return await KeyStore(documents).issue(Principal(tenant, user, frozenset(scopes or ["admin"])))
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
    key = await _make_key(settings, "default", "developer", None)
    return f"\nYour API key, shown this once: {key}\n" + WELCOME.format(url=url, key=key, body=body)


if __name__ == "__main__":
    sys.exit(main())
