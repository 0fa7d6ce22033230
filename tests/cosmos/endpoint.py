"""The Cosmos endpoint for tests: our repaired server as a process, or a real account that the environment names.

COSMOS_ENDPOINT, COSMOS_KEY     run the same tests against this account, in a database made and deleted for them
CI=true                         Node must be there
"""

import base64
import os
import secrets
import shutil
import subprocess
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import pytest

HERE = Path(__file__).resolve().parent
INSTALLED = HERE / "node_modules" / ".package-lock.json"
"""What npm writes last."""


class CosmosEndpoint:
    """The server on a free loopback port, until it is left. Its data ends with it.

    Attributes:
        url: Its address.
        key: Its account key; requests signed with another are refused.
    """

    def __init__(self) -> None:
        self.url = ""
        self.key = new_key()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process, self.url = start(self.key)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def advance(self, seconds: float) -> None:
        """Move the server's clock, which time-to-live goes by."""
        body = f'{{"advance": {seconds}}}'.encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/test/clock", body), timeout=5):
            pass

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            assert self._process.stdout is not None
            self._process.stdout.close()


def new_key() -> str:
    """Make an account key."""
    return base64.b64encode(secrets.token_bytes(64)).decode()


def start(key: str, errors: IO[str] | None = None) -> tuple[subprocess.Popen[str], str]:
    """Start the server on a free loopback port. Returns its process and its address."""
    install()
    process = subprocess.Popen(
        ["node", "server.js"],
        cwd=HERE,
        env={"PATH": os.environ["PATH"], "COSMOS_KEY": key},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    word, _, port = process.stdout.readline().partition(" ")
    if word != "ready":
        process.kill()
        raise RuntimeError("the Cosmos endpoint did not start; its reason is on standard error")
    return process, f"http://127.0.0.1:{int(port)}"


def install() -> None:
    """Install the server's packages when they are missing, exactly as locked."""
    if not INSTALLED.exists():
        subprocess.run(["npm", "ci", "--omit=dev"], cwd=HERE, check=True, capture_output=True, timeout=300)


def require_node() -> None:
    """Skip the test without Node; fail it where nothing may be skipped."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        reason = f"the Cosmos endpoint for tests needs Node 20 or later, and {missing[0]} is not on the path"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
