"""A model that is asked no more often, and for no more tokens, than its deployment takes in a minute.

1. Before a request, it and its tokens are counted in the present window: those of its messages by estimate, those of
   its reply by their bound. What would exceed a limit is taken back and refused until the next window.
2. After the reply, the tokens counted are corrected to those used. Of a request that failed they stay counted, for
   nobody tells how many the provider counted.

A request larger than the whole limit is let through by a window that is still empty: no other would ever take it.
"""

import logging
import time
from collections.abc import Callable

from perdure.allowances import PerModel
from perdure.documents.port import StoreUnavailable
from perdure.domain.messages import ModelReply
from perdure.models.port import Model, ModelLimited, ModelRequest, OnText
from perdure.stores.model_rates import ModelRates

WINDOW_SECONDS = 60

logger = logging.getLogger(__name__)


class ThrottledModel:
    """Another model within limits. Implements `perdure.models.port.Model`.

    Args:
        requests: Most requests a minute.
        tokens: Most tokens a minute, of messages and replies together.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        model: Model,
        rates: ModelRates,
        requests: PerModel,
        tokens: PerModel,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._model = model
        self._rates = rates
        self._requests = requests
        self._tokens = tokens
        self._clock = clock

    async def reply(self, request: ModelRequest, on_text: OnText | None = None) -> ModelReply:
        """Answer one turn; see `perdure.models.port.Model`.

        Raises:
            ModelLimited: The window has no room for it.
        """
        if not (self._requests.of(request.model) or self._tokens.of(request.model)):
            return await self._model.reply(request, on_text)
        expected = request.input_tokens + (request.max_output_tokens or 0)
        window = await self._enter(request.model, expected)
        reply = await self._model.reply(request, on_text)
        used = reply.usage.input_tokens + reply.usage.output_tokens
        if used and used != expected and window == self._window():
            try:
                await self._rates.add(request.model, window, 0, used - expected)
            except StoreUnavailable as error:
                logger.warning("The tokens of a reply are counted as estimated until the minute is over: %s", error)
        return reply

    async def close(self) -> None:
        """Close the model."""
        await self._model.close()

    async def _enter(self, model: str, tokens: int) -> int:
        window = self._window()
        asked, counted = await self._rates.add(model, window, 1, tokens)
        most, most_tokens = self._requests.of(model), self._tokens.of(model)
        if not most or asked <= most:
            if not most_tokens or counted <= most_tokens or counted == tokens:
                return window
            limit = f"{most_tokens:,} tokens"
        else:
            limit = f"{most:,} requests"
        await self._rates.add(model, window, -1, -tokens)
        ends = (window + 1) * WINDOW_SECONDS - self._clock()
        raise ModelLimited(f"{model} is asked for no more than {limit} a minute", max(0.0, ends))

    def _window(self) -> int:
        return int(self._clock() // WINDOW_SECONDS)
