"""One running app for all tests here, with a model that follows scripts."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from perdure.documents.containers import CONTROLS
from perdure.documents.sqlite import SqliteDocuments
from perdure.stores.breakers import KIND
from tests.app import ADMIN_KEY, App, ScriptedProvider, make_app_folder
from tests.devhost_process import REPOSITORY
from tests.oidc_issuer import OidcIssuer

FAULTY = """
name: faulty
description: An agent whose tools misbehave.
instructions: Try everything.
tools: [echo, nap, explode, refuse, hang_async, hang_in_thread, flood, flaky, send_once, dangerous, calculate,
  slow_effect, huge, transfer, send_email, send_and_hang, unreliable]
approval:
  transfer: amount > 100
limits:
  max_steps: 5
  max_seconds: 60
"""
HURRIED = """
name: hurried
description: An agent with little time.
instructions: Be quick.
tools: [nap]
limits:
  max_seconds: 1.5
"""
LENGTHY = """
name: lengthy
description: An agent that thinks for thirty steps.
instructions: Think.
tools: [calculate]
limits:
  max_steps: 30
"""
IMPATIENT = """
name: impatient
description: An agent that waits for nobody.
instructions: Ask once.
tools: [dangerous, send_and_hang]
limits:
  max_seconds: 30
  approval_seconds: 1
"""
PATIENT = """
name: patient
description: An agent with time for mistakes.
instructions: Try again.
tools: [calculate, slow_effect]
"""
BOSS = """
name: boss
description: An agent that lets others work.
instructions: Delegate.
tools: [calculate]
agents: [helper, sender, middle]
approval:
  transfer: amount > 100
limits:
  max_steps: 12
  max_seconds: 60
"""
MIDDLE = """
name: middle
description: An agent that is asked and asks.
instructions: Delegate.
agents: [helper]
"""
HELPER = """
name: helper
description: Helps with everything.
instructions: Help.
tools: [calculate, nap, dangerous]
"""
SENDER = """
name: sender
description: Sends money.
instructions: Send.
tools: [transfer, dangerous]
approval:
  transfer: note == "rent"
"""
FORGETFUL = """
name: forgetful
description: An agent that sees little of what was said.
instructions: Remember.
limits:
  context_tokens: 300
"""


@pytest.fixture(scope="session")
def provider() -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider()
    with provider.server:
        yield provider


@pytest.fixture
def rested_tools(running: App) -> None:
    """Let no breaker remember what tools failed at in other tests."""

    async def forget() -> None:
        documents = SqliteDocuments(str(running.folder / ".perdure" / "state.db"))
        for stored in (await documents.page(CONTROLS, ("default", KIND))).items:
            await documents.delete(CONTROLS, ("default", KIND), stored.body["id"])
        await documents.close()

    asyncio.run(forget())


@pytest.fixture(scope="session")
def issuer() -> Iterator[OidcIssuer]:
    """Whose tokens the app accepts, besides API keys."""
    with OidcIssuer() as issuer:
        yield issuer


@pytest.fixture(scope="session")
def running(provider: ScriptedProvider, issuer: OidcIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = make_app_folder(
        tmp_path_factory.mktemp("app"),
        extra_tools=[REPOSITORY / "tests" / "fault_tools.py"],
        extra_agents={
            "faulty": FAULTY,
            "hurried": HURRIED,
            "lengthy": LENGTHY,
            "forgetful": FORGETFUL,
            "impatient": IMPATIENT,
            "patient": PATIENT,
            "boss": BOSS,
            "middle": MIDDLE,
            "helper": HELPER,
            "sender": SENDER,
        },
    )  # fmt: skip
    settings = {
        "OPENAI_BASE_URL": provider.server.base_url,
        "PERDURE_MODEL": "scripted",
        "PERDURE_PRICES": json.dumps({"scripted": {"input": 1, "output": 2}}),
        "PERDURE_ADMIN_KEY": ADMIN_KEY,
        "PERDURE_OIDC_ISSUERS": json.dumps([issuer.setting()]),
    }
    with App(folder, settings) as app:
        yield app


@pytest.fixture
def app(running: App, provider: ScriptedProvider) -> Iterator[App]:
    """The running app. Whatever a test planned for the model must have been used at its end."""
    yield running
    provider.verify()
