"""What the OpenAI adapters share: the SDK's client, and what its errors mean.

`openai` takes 1.5 s to import and `azure.identity` 0.6 s, so the client is built at the first request and neither is
imported with this module. The SDK's own retries are off: how often and how long to wait is the orchestrator's decision,
on a durable timer.
"""

import asyncio
import importlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, cast

from perdure.models.failures import (
    BROKEN,
    FAILED_IN_REPLY,
    SETTINGS,
    SILENT,
    UNREACHABLE,
    Handling,
    advice,
    failure,
    handling,
)
from perdure.models.port import ModelError, ModelRejected, ModelUnavailable

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI

OPENAI_BASE_URL = "https://api.openai.com/v1"
ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"
PLACEHOLDER_KEY = "none"
"""Sent to a compatible endpoint that needs no key; the SDK insists on one."""
MESSAGE_LIMIT = 500
"""Characters of a provider's own error text that we repeat: some send whole HTML pages."""


@dataclass(frozen=True, slots=True)
class OpenAISettings:
    """Where the model is and how to get in.

    Attributes:
        base_url: Any OpenAI-compatible endpoint, up to and including `/v1`. None: OpenAI itself, or Azure.
        api_key: The key. None: no key for `base_url`, Entra ID for `azure_endpoint`; OpenAI itself needs one.
        azure_endpoint: `https://<resource>.openai.azure.com`. Excludes `base_url`.
        azure_api_version: Azure's dated API version. None: its undated v1 API.
        timeout: Seconds of silence, while connecting or between two pieces of an answer, that count as a failure. A
            stream that keeps coming may last longer.

    Raises:
        ValueError: The combination reaches no model, or an address is not an http(s) URL.
    """

    base_url: str | None
    api_key: str | None = field(repr=False)
    azure_endpoint: str | None
    azure_api_version: str | None
    timeout: float

    def __post_init__(self) -> None:
        if self.base_url and self.azure_endpoint:
            raise ValueError("Set base_url or azure_endpoint, not both.")
        if not (self.base_url or self.azure_endpoint or self.api_key):
            raise ValueError("Set api_key (OpenAI), azure_endpoint (Azure OpenAI) or base_url (a compatible endpoint).")
        for address in (self.base_url, self.azure_endpoint):
            if address and not address.startswith(("https://", "http://")):
                raise ValueError(f"{address!r} is not an address: it must start with https:// or http://.")


class OpenAIClient:
    """The SDK's client, built at the first request.

    It belongs to the event loop of that request; the Functions worker runs everything on one loop.
    """

    def __init__(self, settings: OpenAISettings) -> None:
        self._settings = settings
        self._client: AsyncOpenAI | None = None
        self._opening = asyncio.Lock()
        self._resources = AsyncExitStack()

    async def get(self) -> "AsyncOpenAI":
        async with self._opening:
            if self._client is None:
                # In a thread, so that the loop serves other requests during the import.
                await asyncio.to_thread(importlib.import_module, "openai.resources.chat")
                self._client = self._open()
                self._resources.push_async_callback(self._client.close)
            return self._client

    def _open(self) -> "AsyncOpenAI":
        from openai import AsyncAzureOpenAI, AsyncOpenAI

        at, timeout = self._settings, self._settings.timeout
        if at.azure_endpoint is None:
            address, key = at.base_url or OPENAI_BASE_URL, at.api_key or PLACEHOLDER_KEY
            return AsyncOpenAI(base_url=address, api_key=key, timeout=timeout, max_retries=0)
        if at.azure_api_version is None:
            address, key = f"{at.azure_endpoint.rstrip('/')}/openai/v1", at.api_key or self._entra_token()
            return AsyncOpenAI(base_url=address, api_key=key, timeout=timeout, max_retries=0)
        return AsyncAzureOpenAI(
            azure_endpoint=at.azure_endpoint,
            api_version=at.azure_api_version,
            api_key=at.api_key,
            azure_ad_token_provider=None if at.api_key else self._entra_token(),
            timeout=timeout,
            max_retries=0,
        )

    def _entra_token(self) -> Callable[[], Awaitable[str]]:
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider

        credential = DefaultAzureCredential()
        self._resources.push_async_callback(credential.close)
        provider = get_bearer_token_provider(credential, ENTRA_SCOPE)

        async def token() -> str:
            try:
                return await provider()
            except ClientAuthenticationError as error:
                advice = "set AZURE_OPENAI_API_KEY, sign in, or give the app a managed identity"
                raise ModelRejected(f"No Entra ID token: {advice}. {error.message[:MESSAGE_LIMIT]}") from error
            except AzureError as error:
                raise ModelUnavailable(f"Entra ID does not answer: {error.message[:MESSAGE_LIMIT]}") from error

        return token

    def failure(self, error: Exception) -> ModelError:
        """Say what anything that went wrong between asking and the end of the answer means for the port's caller."""
        return _failure(error, self._settings.api_key)

    async def close(self) -> None:
        """Close the client's connections and, with Entra ID, the credential's."""
        await self._resources.aclose()


def _failure(error: Exception, key: str | None) -> ModelError:
    """What the port's caller is told of anything that went wrong between asking and the end of the answer."""
    import openai

    match error:
        case ModelError():
            return error
        case openai.APIStatusError():
            how = handling(error.status_code, error.code)
            refused = how in (Handling.FALLBACK, Handling.FATAL)
            why = f"{advice(error.status_code, error.code)}. " if refused else ""
            told = f"The provider answered {error.status_code}: {why}{_said(error)}"
            return failure(how, _safe(told, key), _retry_after(error.response.headers))
        case openai.APIConnectionError():
            reason = f" ({error.__cause__})" if str(error.__cause__ or "") else ""
            told = f"The model cannot be reached: {error.message}{reason}"
            return failure(handling(None, _broken_how(error.__cause__, UNREACHABLE)), _safe(told, key))
        case openai.APIError():
            # An error event inside a stream: no status, so its code and type decide.
            how = handling(None, error.code, error.type, FAILED_IN_REPLY)
            said = "refused" if how in (Handling.FALLBACK, Handling.FATAL) else "failed"
            return failure(how, _safe(f"The provider {said} in mid-reply: {_said(error)}", key))
        case openai.OpenAIError():
            return failure(handling(None, SETTINGS), _safe(f"The model's settings do not work: {error}", key))
        case _:
            # Undecodable bytes, invalid JSON, JSON of another shape; a stream that stops or breaks.
            kind = type(error).__name__
            told = f"The answer is no chat completion; if it stays so, check OPENAI_BASE_URL. {kind}: {error}"
            return failure(handling(None, _broken_how(error, BROKEN)), _safe(told, key))


def _broken_how(cause: BaseException | None, otherwise: str) -> str:
    # By name: the SDK has changed its HTTP library before, and both have the same errors.
    kinds = {kind.__name__ for kind in type(cause).__mro__}
    if "TimeoutException" in kinds and "ConnectTimeout" not in kinds:
        return SILENT
    # A connection that was there and broke, perhaps one kept open too long, tells nothing of the next.
    return BROKEN if kinds & {"ReadError", "RemoteProtocolError"} else otherwise


def _said(error: "APIError") -> str:
    body = error.body
    if isinstance(body, Mapping):
        message = cast("Mapping[str, object]", body).get("message")
        return message if isinstance(message, str) else error.message
    return body if isinstance(body, str) and body else error.message


def _safe(text: str, key: str | None) -> str:
    hidden = text.replace(key, "***") if key else text
    return hidden[:MESSAGE_LIMIT]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: `retry-after-ms` (Azure), or `Retry-After` as seconds or as an HTTP date."""
    for header, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[header]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        date = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return max(0.0, date.timestamp() - time.time())
