"""Azurite as a process: Azure Storage's blob, queue and table endpoints on free loopback ports, entered with a token.

The deployment has no shared key, so none is used here: requests carry a token of Microsoft Entra ID's form, over TLS.
Azurite checks issuer, audience and time of such a token, and not who signed it.
"""

import base64
import ipaddress
import os
import re
import secrets
import shutil
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = Path(__file__).resolve().parent
INSTALLED = HERE / "node_modules" / ".package-lock.json"
"""What npm writes last."""
SERVER = HERE / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"

ACCOUNT, TENANT = "perdure", "ab1f708d-50f6-404c-a006-d71b2ac7a606"
SERVICES = ("Blob", "Queue", "Table")
VERSIONS = {"Blob": "2025-11-05", "Queue": "2025-11-05", "Table": "2019-02-02"}


class Azurite:
    """The three endpoints, until it is left. Their data ends with it.

    Attributes:
        blob, queue, table: A client for each, whose addresses are below the account's.
        anonymous: One for addresses in full, without a token.
    """

    def __enter__(self) -> Self:
        install()
        self._folder = TemporaryDirectory(prefix="azurite-")
        folder = Path(self._folder.name)
        certificate, key = make_certificate(folder)
        command = [
            "node", str(SERVER), "--inMemoryPersistence", "--silent",
            "--blobPort", "0", "--queuePort", "0", "--tablePort", "0", "--disableTelemetry", "--oauth", "basic",
            "--cert", str(certificate), "--key", str(key),
        ]  # fmt: skip
        # A key it must have, which nobody is told.
        account = f"{ACCOUNT}:{base64.b64encode(secrets.token_bytes(64)).decode()}"
        self._process = subprocess.Popen(
            command, cwd=folder, env={"PATH": os.environ["PATH"], "AZURITE_ACCOUNTS": account},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        trust = ssl.create_default_context(cafile=str(certificate))
        addresses = self._addresses()
        self.blob, self.queue, self.table = (self._client(name, addresses[name], trust) for name in SERVICES)
        self.anonymous = httpx.Client(verify=trust)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in (self.blob, self.queue, self.table, self.anonymous):
            client.close()
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()

    def _addresses(self) -> dict[str, str]:
        """What it prints of each service, once that listens."""
        assert self._process.stdout is not None
        found: dict[str, str] = {}
        while len(found) < len(SERVICES):
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("Azurite ended before it listened")
            if listening := re.search(r"Azurite (\w+) service is successfully listening at (https://\S+)", line):
                found[listening[1]] = f"{listening[2]}/{ACCOUNT}"
        return found

    def _client(self, service: str, address: str, trust: ssl.SSLContext) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token()}", "x-ms-version": VERSIONS[service], "x-ms-date": rfc1123()}
        if service == "Table":
            headers |= {"Accept": "application/json;odata=nometadata", "DataServiceVersion": "3.0"}
        return httpx.Client(base_url=address, headers=headers, verify=trust)


def token(audience: str = "https://storage.azure.com", lifetime: int = 3600) -> str:
    """A token as a managed identity gets one, but for its signature."""
    now = int(time.time())
    claims = {
        "aud": audience, "iss": f"https://sts.windows.net/{TENANT}/", "iat": now, "nbf": now - 60,
        "exp": now + lifetime, "ver": "1.0",
    }  # fmt: skip
    return jwt.encode(claims, secrets.token_bytes(32), algorithm="HS256")


def rfc1123() -> str:
    return datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return paths


def install() -> None:
    """Install Azurite when it is missing, exactly as locked."""
    if not INSTALLED.exists():
        command = ["npm", "ci", "--omit=dev", "--ignore-scripts"]
        subprocess.run(command, cwd=HERE, check=True, capture_output=True, timeout=300)


def require_node() -> None:
    """Skip the test without Node; fail it where nothing may be skipped."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        reason = f"Azurite needs Node 20 or later, and {missing[0]} is not on the path"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
