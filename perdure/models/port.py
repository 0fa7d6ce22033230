"""The model port: what Perdure asks of a language model, and how a model may fail.

ModelError
├── ModelUnavailable        try again later (rate limit, outage, time-out); may know how long to wait
│   └── ModelInterrupted    try again, at once the first time (broken connection or stream)
├── ModelLimited            not asked, for a limit of our own; knows how long to wait
└── ModelRejected           never try again as it stands (credentials, malformed or refused request)
    └── ModelUnfit          but another model may answer (unknown model, no access, conversation too long for it)

`perdure.models.failures` says which failure of a provider is which.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from perdure.domain.context import tokens, tokens_of_tool
from perdure.domain.messages import Message, ModelReply, ToolSpec

type OnText = Callable[[str], Awaitable[None]]
"""Receives each piece of the reply's text as it arrives."""


class ModelError(Exception):
    """A model did not answer."""


class ModelUnavailable(ModelError):
    """The model may answer the same request later.

    Attributes:
        retry_after: Seconds the provider asks us to wait; None when it did not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelInterrupted(ModelUnavailable):
    """An accident of this one exchange, which tells nothing of the next."""


class ModelLimited(ModelError):
    """The model was not asked: its deployment has had all that it may have for now.

    Attributes:
        retry_after: Seconds until it may be asked again.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelRejected(ModelError):
    """The provider refuses this request; sending it again cannot help."""


class ModelUnfit(ModelRejected):
    """This model does not answer this request, but another may."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One turn asked of a model.

    Attributes:
        model: Model or deployment name as the provider knows it.
        messages: The conversation, system message first.
        tools: Tools the model may call; empty when it must answer in text.
        max_output_tokens: Longest reply; None for the provider's own bound.
    """

    model: str
    messages: Sequence[Message]
    tools: Sequence[ToolSpec] = ()
    max_output_tokens: int | None = None

    @property
    def input_tokens(self) -> int:
        """Estimate the tokens of messages and tools."""
        return sum(map(tokens, self.messages)) + sum(map(tokens_of_tool, self.tools))


class Model(Protocol):
    """A language model."""

    async def reply(self, request: ModelRequest, on_text: OnText | None = None) -> ModelReply:
        """Answer one turn, calling `on_text` with text as it streams in when it is given.

        Raises:
            ModelUnavailable: The same request may succeed later.
            ModelLimited: It may be made later.
            ModelRejected: It cannot; ModelUnfit if another model may.
        """
        ...

    async def close(self) -> None:
        """Release connections. The model is not used afterwards."""
        ...
