"""Puts what is secret into Key Vault: the first admin key, once; and the key of a model elsewhere, when given.

    python infra/hooks/vault.py            after provisioning; azd's environment says which vault and which app
    python infra/hooks/vault.py --rotate   another admin key in place of the old one

1. Through Azure Resource Manager, so that whoever deploys needs no role for the vault's data, and a vault that is
   closed to the internet is no obstacle. It cannot read a secret back.
2. A key is made here, from the system's randomness, and is in no argument, in no file that stays, and in no log: a
   terminal is shown it once, anybody else the command that shows it.
3. The app is told to look again, for it may have started before there was a secret.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ADMIN_KEY, MODEL_KEY = "perdure-admin-key", "openai-api-key"
VAULT_VERSION, SITE_VERSION = "2024-11-01", "2024-11-01"
NEEDED = ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZURE_KEY_VAULT_NAME", "AZURE_FUNCTION_APP_NAME")


class HookError(Exception):
    """It could not be done. The message says what Azure said."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python infra/hooks/vault.py", description=__doc__.splitlines()[0])
    parser.add_argument("--rotate", action="store_true", help="make another admin key even if there is one")
    options = parser.parse_args()
    if missing := [name for name in NEEDED if not os.environ.get(name)]:
        parser.error(
            f"{', '.join(missing)}: not set; run by azd, or with: eval \"$(azd env get-values | sed 's/^/export /')\""
        )
    try:
        run(options.rotate)
    except HookError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def run(rotate: bool) -> None:
    subscription, group, vault, app = (os.environ[name] for name in NEEDED)
    providers = f"/subscriptions/{subscription}/resourceGroups/{group}/providers"
    secret = f"{providers}/Microsoft.KeyVault/vaults/{vault}/secrets"
    changed = False
    if rotate or not there(f"{secret}/{ADMIN_KEY}"):
        key = secrets.token_urlsafe(32)
        store(f"{secret}/{ADMIN_KEY}", key)
        changed = True
        if sys.stdout.isatty() and os.environ.get("CI") != "true":
            sys.stdout.write(f"Your admin key, shown this once: {key}\n")
    if model_key := os.environ.get("OPENAI_API_KEY"):
        store(f"{secret}/{MODEL_KEY}", model_key)
        changed = True
    if changed:
        path = f"{providers}/Microsoft.Web/sites/{app}/config/configreferences/appsettings/refresh"
        rest("post", f"{path}?api-version={SITE_VERSION}")
    sys.stdout.write(
        f"The admin key is in the vault: az keyvault secret show --vault-name {vault} --name {ADMIN_KEY}"
        " --query value --output tsv\n"
    )


def there(path: str) -> bool:
    try:
        rest("get", f"{path}?api-version={VAULT_VERSION}")
    except HookError as error:
        if "NotFound" in str(error).replace(" ", ""):
            return False
        raise
    return True


def store(path: str, value: str) -> None:
    descriptor, name = tempfile.mkstemp()  # For its owner's eyes only.
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump({"properties": {"value": value}}, file)
        rest("put", f"{path}?api-version={VAULT_VERSION}", "--body", f"@{name}", "--output", "none")
    finally:
        Path(name).unlink()


def rest(method: str, path: str, *more: str) -> None:
    az = shutil.which("az")
    if az is None:
        raise HookError("The Azure CLI, az, is needed: https://learn.microsoft.com/cli/azure/install-azure-cli")
    ran = subprocess.run([az, "rest", "--method", method, "--url", path, *more], capture_output=True, text=True)
    if ran.returncode:
        raise HookError(f"az rest --method {method} {path}: {ran.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
