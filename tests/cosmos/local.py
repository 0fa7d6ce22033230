"""The Cosmos endpoint as a process that stays: for `make run STATE=cosmos` where no account is named.

python -m tests.cosmos.local up      start it if it does not run, and print its settings for a shell
python -m tests.cosmos.local down    end it, and with it its data
"""

import json
import os
import shlex
import shutil
import signal
import sys
import urllib.error
import urllib.request

from tests.cosmos.endpoint import HERE, new_key, start

RECORD = HERE.parents[1] / ".perdure" / "cosmos.json"


def up() -> dict[str, str]:
    """Find the running endpoint, or start one that goes on when this process ends."""
    if RECORD.exists() and _answers(known := json.loads(RECORD.read_text())):
        return known["settings"]
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise SystemExit("STATE=cosmos needs COSMOS_ENDPOINT, or Node 20 or later for the endpoint that the tests use")
    key = new_key()
    RECORD.parent.mkdir(mode=0o700, exist_ok=True)
    with (RECORD.parent / "cosmos.log").open("a") as log:
        process, url = start(key, log)
    settings = {"PERDURE_STATE": "cosmos", "COSMOS_ENDPOINT": url, "COSMOS_KEY": key}
    RECORD.touch(mode=0o600)
    RECORD.write_text(json.dumps({"pid": process.pid, "settings": settings}))
    return settings


def down() -> None:
    """End the endpoint this folder started, if there is one."""
    if RECORD.exists():
        known = json.loads(RECORD.read_text())
        if _answers(known):
            os.kill(known["pid"], signal.SIGTERM)
        RECORD.unlink()


def _answers(known: dict[str, dict[str, str]]) -> bool:
    try:
        urllib.request.urlopen(known["settings"]["COSMOS_ENDPOINT"], timeout=2).close()
    except urllib.error.HTTPError:
        return True  # It asks for a key, so it is there.
    except OSError:
        return False
    return True


if __name__ == "__main__":
    if sys.argv[1:] == ["up"]:
        sys.stdout.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in up().items())
    elif sys.argv[1:] == ["down"]:
        down()
    else:
        raise SystemExit(__doc__)
