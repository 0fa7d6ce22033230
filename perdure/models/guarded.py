"""Requests to a provider behind its circuit breaker, and embeddings that are asked for so."""

from collections.abc import Awaitable, Callable, Sequence

from perdure.models.embeddings import Embeddings, Vector
from perdure.models.port import ModelRejected, ModelUnavailable
from perdure.stores.breakers import BreakerOpen, Breakers


async def guarded[T](breakers: Breakers, name: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask, unless the breaker of this name refuses, and tell it what came of it.

    Raises:
        BreakerOpen: It refuses; nothing was asked.
        ModelError: As asking does.
    """
    entry = await breakers.enter(name)
    try:
        answer = await ask()
    except ModelUnavailable as error:
        await breakers.failed(entry, error.retry_after)
        raise
    except ModelRejected:
        # Who refuses is there.
        await breakers.succeeded(entry)
        raise
    await breakers.succeeded(entry)
    return answer


class GuardedEmbeddings:
    """Other embeddings behind a breaker. Implements `perdure.models.embeddings.Embeddings`.

    While the breaker is open they are unavailable at once: a search does not hang, and a tool that searches can tell
    the model so.
    """

    def __init__(self, embeddings: Embeddings, breakers: Breakers) -> None:
        self._embeddings = embeddings
        self._breakers = breakers
        self.model = embeddings.model
        self.dimensions = embeddings.dimensions

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        try:
            return await guarded(self._breakers, f"embeddings:{self.model}", lambda: self._embeddings.embed(texts))
        except BreakerOpen as error:
            told = f"The embedding model {self.model} failed repeatedly and is only asked now and then."
            raise ModelUnavailable(told, error.retry_after) from None

    async def close(self) -> None:
        """Close the embeddings."""
        await self._embeddings.close()
