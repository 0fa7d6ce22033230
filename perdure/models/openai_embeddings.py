"""The embeddings port over the Embeddings API: OpenAI, Azure OpenAI and whatever speaks the same protocol."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure.models.embeddings import Vector
from perdure.models.openai_client import OpenAIClient, OpenAISettings
from perdure.models.port import ModelRejected, ModelUnavailable

if TYPE_CHECKING:
    from openai.types import CreateEmbeddingResponse


class OpenAIEmbeddings:
    """Implements `perdure.models.embeddings.Embeddings`.

    Args:
        model: Model or deployment name.
        dimensions: Length of its vectors. It is checked and not asked for: not every model lets one choose.
    """

    def __init__(self, settings: OpenAISettings, model: str, dimensions: int) -> None:
        self._client = OpenAIClient(settings)
        self.model = model
        self.dimensions = dimensions

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        if not texts:
            return []
        # A provider refuses an empty text and with it all the others.
        asked = [text if text.strip() else "-" for text in texts]
        client = await self._client.get()
        try:
            # As numbers, since the SDK's own default, base64, is not known to every compatible endpoint.
            answer = await client.embeddings.create(model=self.model, input=asked, encoding_format="float")
            vectors = _read(answer)
        except Exception as error:
            # No chained exception: a provider may repeat the key in its message, and a log prints the whole chain.
            raise self._client.failure(error) from None
        if len(vectors) != len(texts):
            raise ModelUnavailable(f"{self.model} answered {len(texts)} texts with {len(vectors)} embeddings.")
        found = {len(vector) for vector in vectors}
        if found != {self.dimensions}:
            lengths = " and ".join(map(str, sorted(found)))
            raise ModelRejected(
                f"The vectors of {self.model} have {lengths} dimensions, but PERDURE_EMBEDDING_DIMENSIONS is "
                f"{self.dimensions}; set it to what the model gives."
            )
        return vectors

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()


def _read(answer: "CreateEmbeddingResponse") -> list[Vector]:
    return [one.embedding for one in sorted(answer.data, key=lambda one: one.index)]
