"""An OpenID Connect issuer on a free loopback port: discovery document, keys, and tokens signed with them.

with OidcIssuer() as issuer:
    ... configure an app with issuer.setting() ...
    issuer.token(sub="ann", roles=["task:run"])
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as new_rsa_key
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from perdure.domain.principal import SCOPES
from perdure.identity.errors import CredentialRefused
from perdure.identity.issuers import parse_issuers
from perdure.identity.signing_keys import SigningKeys
from perdure.identity.tokens import Tokens

AUDIENCE = "api://perdure"

type PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey


class OidcIssuer:
    """An issuer whose keys a test changes.

    Attributes:
        keys: Private keys by their `kid`. What is published follows from them.
        published: Put in place of what follows, by path.
        down: Answer 503 to everything.
        requests: Paths asked for, in order.
    """

    def __init__(self) -> None:
        self.keys: dict[str, PrivateKey] = {"first": new_rsa_key(65537, 2048)}
        self.published: dict[str, bytes] = {}
        self.down = False
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def setting(self, **fields: Any) -> dict[str, Any]:
        """One entry of PERDURE_OIDC_ISSUERS: a role allows the scope that has its name."""
        return {
            "name": "test",
            "issuer": self.url,
            "audience": AUDIENCE,
            "tenant_claim": "tid",
            "scopes": {scope: [scope] for scope in SCOPES},
            **fields,
        }

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims of a token that is good for everything; a change to None leaves the claim out."""
        now = int(time.time())
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "tid": "acme", "roles": list(SCOPES)}
        times = {"iat": now, "nbf": now, "exp": now + 600}
        return {name: value for name, value in {**usual, **times, **changes}.items() if value is not None}

    def token(self, kid: str = "first", header: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """Sign a token with one of the keys; `changes` are made to its claims."""
        key = self.keys[kid]
        algorithm = "RS256" if isinstance(key, RSAPrivateKey) else "ES256"
        # PyJWT's own `encode` makes no token with an odd claim.
        claims = json.dumps(self.claims(**changes)).encode()
        return PyJWS().encode(claims, key, algorithm, {"kid": kid, **(header or {})})

    def rotate(self, *kids: str) -> None:
        """Sign with new keys from now on, and publish no others."""
        self.keys = {kid: new_ec_key(SECP256R1()) for kid in kids}

    def _handler(issuer) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's own.
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests.append(self.path)
                body = b"" if issuer.down else issuer._answer(self.path)
                self.send_response(503 if issuer.down else 404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    def _answer(self, path: str) -> bytes | None:
        if path in self.published:
            return self.published[path]
        match path:
            case "/.well-known/openid-configuration":
                return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
            case "/keys":
                return json.dumps({"keys": [public_jwk(kid, key) for kid, key in self.keys.items()]}).encode()
            case _:
                return None


def public_jwk(kid: str, key: PrivateKey) -> dict[str, Any]:
    public = key.public_key()
    jwk = (RSAAlgorithm if isinstance(key, RSAPrivateKey) else ECAlgorithm).to_jwk(public, as_dict=True)
    return {**jwk, "kid": kid, "use": "sig"}


def tokens(issuer: OidcIssuer, clock: Callable[[], float] = time.monotonic, **fields: Any) -> Tokens:
    """Check tokens of an issuer, with its setting changed in some fields."""
    return Tokens(parse_issuers(json.dumps([issuer.setting(**fields)])), lambda one: SigningKeys(one, clock))


async def refusal(checked: Tokens, token: str) -> str:
    """Say why a token is refused."""
    with pytest.raises(CredentialRefused) as refused:
        await checked.check(token)
    return str(refused.value)
