"""What a provider's failures mean, in one table. docs/degradation.md explains it, and is tested against it.

The words of the table are the provider's own code, which counts first; the status; and, where there is neither, how
the exchange broke. `perdure.models.openai_client` finds out which of them it was.
"""

from enum import StrEnum

from perdure.models.port import ModelError, ModelInterrupted, ModelRejected, ModelUnavailable, ModelUnfit


class Handling(StrEnum):
    """What is done about a failure.

    Attributes:
        RETRY_NOW: The same request again, at once the first time: an accident of this one exchange.
        RETRY_LATER: The same request again, after a wait that the provider may name.
        FALLBACK: Another model may answer; this one will not.
        FATAL: Nothing will; the task ends with the provider's words.
    """

    RETRY_NOW = "retry_now"
    RETRY_LATER = "retry_later"
    FALLBACK = "fallback"
    FATAL = "fatal"


UNREACHABLE = "unreachable"
SILENT = "silent"
BROKEN = "broken"
FAILED_IN_REPLY = "failed_in_reply"
SETTINGS = "settings"

HANDLING: dict[str | int, Handling] = {
    "content_filter": Handling.FATAL,
    "context_length_exceeded": Handling.FALLBACK,
    "insufficient_quota": Handling.FALLBACK,
    "invalid_request_error": Handling.FATAL,
    400: Handling.FATAL,
    401: Handling.FATAL,
    403: Handling.FALLBACK,
    404: Handling.FALLBACK,
    408: Handling.RETRY_NOW,
    409: Handling.RETRY_NOW,
    422: Handling.FATAL,
    429: Handling.RETRY_LATER,
    UNREACHABLE: Handling.RETRY_LATER,
    SILENT: Handling.RETRY_LATER,
    BROKEN: Handling.RETRY_NOW,
    FAILED_IN_REPLY: Handling.RETRY_LATER,
    SETTINGS: Handling.FATAL,
}
"""How each failure is handled. A status that is not here is retried later from 500 on, and fatal below."""

ADVICE: dict[str | int, str] = {
    "content_filter": "The provider's content filter stopped this reply; rephrase the request or adjust the filter.",
    "context_length_exceeded": "the conversation is too long for the model",
    "insufficient_quota": "the account's quota is used up",
    400: "it finds the request malformed or too long for the model",
    401: "the credentials were not accepted: check OPENAI_API_KEY or AZURE_OPENAI_API_KEY or, with Entra ID, "
    "the identity the app runs as",
    403: "the credentials lack access: check the key's permissions or the identity's role on the Azure OpenAI resource",
    404: "no such model or address: check the agent's model (on Azure the deployment's name) and OPENAI_BASE_URL or "
    "AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_VERSION",
    422: "it cannot process the request: check that the agent's model supports tools",
}
"""What whoever runs the app can do about it."""


def handling(status: int | None, *words: str | None) -> Handling:
    """Find a failure in the table.

    Args:
        words: The provider's code and type of error, or how the exchange broke.
    """
    for word in words:
        if word in HANDLING:
            return HANDLING[word]
    if status is None:
        return Handling.RETRY_LATER
    return HANDLING.get(status, Handling.RETRY_LATER if status >= 500 else Handling.FATAL)


def advice(status: int, code: str | None) -> str:
    """Say what can be done about a refusal."""
    return ADVICE.get(code or "") or ADVICE.get(status) or "it refuses the request"


def failure(how: Handling, message: str, retry_after: float | None = None) -> ModelError:
    """The port's error for a failure that is handled so."""
    match how:
        case Handling.RETRY_NOW:
            return ModelInterrupted(message, retry_after)
        case Handling.RETRY_LATER:
            return ModelUnavailable(message, retry_after)
        case Handling.FALLBACK:
            return ModelUnfit(message)
        case Handling.FATAL:
            return ModelRejected(message)
