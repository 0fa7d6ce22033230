"""Who calls: from a request's credential to a principal that may use the route."""

from typing import NoReturn

from starlette.datastructures import Headers

from perdure.api.problems import Forbidden, Unauthorized, Unavailable
from perdure.bootstrap import Services
from perdure.domain.principal import Principal, Scope
from perdure.identity.errors import CredentialRefused, IssuerUnavailable

KEY_CHALLENGE = 'ApiKey realm="perdure", header="X-API-Key"'
TOKEN_CHALLENGE = 'Bearer realm="perdure"'


async def identify(app: Services, headers: Headers, scope: Scope) -> Principal:
    """Say who sent a request. Exactly one credential counts: whatever is wrong with it, or with their number, is a 401.

    Raises:
        Unauthorized, Forbidden: There is no valid credential; it is not good for the scope.
        Unavailable: A token cannot be checked, because its issuer does not answer.
    """
    keys, tokens = _given(headers, "X-API-Key"), _given(headers, "Authorization")
    if len(keys) + len(tokens) > 1:
        _refuse(app, "The request has several credentials; send one, in one header.", "invalid_request")
    if keys:
        principal = await _key_owner(app, keys[0])
    elif tokens:
        principal = await _token_owner(app, tokens[0])
    else:
        _refuse(app, f"There is no credential; send {_wanted(app)}.")
    if not principal.may(scope):
        insufficient = f'{TOKEN_CHALLENGE}, error="insufficient_scope", scope="{scope}"'
        raise Forbidden(
            f"The {'API key' if keys else 'token'} does not have the scope {scope!r}.",
            headers={"WWW-Authenticate": insufficient} if tokens else None,
        )
    return principal


async def _key_owner(app: Services, key: str) -> Principal:
    try:
        return await app.api_keys.check(key)
    except CredentialRefused as refused:
        _refuse(app, str(refused))


async def _token_owner(app: Services, authorization: str) -> Principal:
    scheme, _, token = authorization.partition(" ")
    if app.tokens is None or scheme.lower() != "bearer":
        _refuse(app, f"The Authorization header is not of use here; send {_wanted(app)}.")
    try:
        return await app.tokens.check(token.strip())
    except CredentialRefused as refused:
        _refuse(app, str(refused), "invalid_token")
    except IssuerUnavailable as error:
        raise Unavailable(
            "The issuer of the token does not answer, so the token cannot be checked. Try again."
        ) from error


def _given(headers: Headers, name: str) -> list[str]:
    return [value for value in headers.getlist(name) if value]


def _wanted(app: Services) -> str:
    key = "an API key in the X-API-Key header"
    return f"{key}, or a token: 'Authorization: Bearer <token>'" if app.tokens else key


def _refuse(app: Services, detail: str, error: str | None = None) -> NoReturn:
    token = f'{TOKEN_CHALLENGE}, error="{error}"' if error else TOKEN_CHALLENGE
    raise Unauthorized(detail, f"{KEY_CHALLENGE}, {token}" if app.tokens else KEY_CHALLENGE)
