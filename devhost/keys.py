"""Function keys: made up for each run, printed, and enforced only on request, as ``func start --enableAuth`` does.

Azure knows four levels: ``anonymous`` needs no key, ``function`` the function's own key or a host key, ``admin`` the
master key. The management API has a key of its own (the durable extension's system key). The master key opens all.
"""

import secrets
from enum import StrEnum

from starlette.requests import Request


class AuthLevel(StrEnum):
    """What a function asks of its callers."""

    ANONYMOUS = "anonymous"
    FUNCTION = "function"
    ADMIN = "admin"


class Keys:
    """The keys of this run.

    Attributes:
        enforced: Whether requests without the right key are refused.
    """

    def __init__(self, *, enforced: bool) -> None:
        self.enforced = enforced
        self.master = secrets.token_urlsafe(32)
        self.host = secrets.token_urlsafe(32)
        self.management = secrets.token_urlsafe(32)
        self._functions: dict[str, str] = {}

    def of_function(self, name: str) -> str:
        """The key that opens this one function."""
        return self._functions.setdefault(name, secrets.token_urlsafe(32))

    def allow(self, request: Request, level: AuthLevel, function_name: str) -> bool:
        """Whether a request may run a function of that level."""
        match level:
            case AuthLevel.ANONYMOUS:
                return True
            case AuthLevel.FUNCTION:
                return self._presented(request, self.of_function(function_name), self.host, self.master)
            case AuthLevel.ADMIN:
                return self._presented(request, self.master)

    def allow_management(self, request: Request) -> bool:
        """Whether a request may use the built-in management API."""
        return self._presented(request, self.management, self.master)

    def allow_admin(self, request: Request) -> bool:
        """Whether a request may use the host's ``/admin`` API."""
        return self._presented(request, self.master)

    def _presented(self, request: Request, *accepted: str) -> bool:
        if not self.enforced:
            return True
        given = request.headers.get("x-functions-key") or request.query_params.get("code") or ""
        return any(secrets.compare_digest(given.encode(), key.encode()) for key in accepted)
