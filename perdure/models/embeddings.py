"""The embeddings port: texts as vectors, so that what is alike lies near. Also the embedded default."""

import asyncio
import hashlib
import math
import re
from collections.abc import Sequence
from typing import Protocol

type Vector = list[float]


class Embeddings(Protocol):
    """Turns texts into vectors of one length.

    Attributes:
        model: What makes the vectors, and its version. Vectors of two models cannot be compared.
        dimensions: Length of every vector.
    """

    @property
    def model(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Embed each text; the vectors come in the order of the texts and have length 1 (or 0 for no words).

        Raises:
            ModelUnavailable: The same texts may be embedded later.
            ModelRejected: They cannot.
        """
        ...

    async def close(self) -> None:
        """Release connections. It is not used afterwards."""
        ...


class HashingEmbeddings:
    """Feature hashing: counts of words and of their three-letter pieces. It knows spelling, not meaning.

    "retry" is near "retries" and not at all near "attempt". It needs no model and no network, and nothing better
    should be believed of it.
    """

    model = "feature-hashing-1"
    dimensions = 512

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        # In a thread: a batch of passages takes long enough for other requests to notice.
        return await asyncio.to_thread(lambda: [self._one(text) for text in texts])

    async def close(self) -> None:
        """There is nothing to release."""

    def _one(self, text: str) -> Vector:
        counts: dict[str, float] = {}
        for word in re.findall(r"\w+", text.casefold()):
            if word not in _COMMON:
                counts[word] = counts.get(word, 0) + 1
                for at in range(len(word) - 2):
                    piece = f"#{word[at : at + 3]}"
                    counts[piece] = counts.get(piece, 0) + 1 / len(word)
        vector = [0.0] * self.dimensions
        for feature, count in counts.items():
            digest = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest())
            # One bit of the hash gives the sign, so that features sharing a place cancel on average.
            vector[(digest >> 1) % self.dimensions] += (1 if digest & 1 else -1) * math.sqrt(count)
        length = math.hypot(*vector)
        # Six digits are more than the method is good for, and half the bytes to store.
        return [round(value / length, 6) for value in vector] if length else vector


_COMMON = frozenset(
    """a an and are as at be but by can do does for from has have how i in is it its me my of on or say says so that the
    their them then there these they this to was we what when where which who why will with you your""".split()  # noqa: SIM905 - a list of sixty short words is read more easily as text
)
"""English words that tell nothing of what a text is about."""
