"""Results of tools that may be reused for a while, per tenant.

A cache saves work and is never needed: one that cannot be read has nothing, and one that cannot be written keeps
nothing.
"""

import hashlib
import json
import logging

from perdure.documents.containers import CONTROLS
from perdure.documents.port import Documents, DocumentTooLarge, StoreUnavailable
from perdure.domain.arguments import canonical
from perdure.tools.tool import Tool

KIND = "toolCache"

logger = logging.getLogger(__name__)


class ToolCache:
    """Results by tool, its version and the arguments, whoever asked."""

    def __init__(self, store: Documents) -> None:
        self._store = store

    async def get(self, tenant: str, tool: Tool, arguments: str) -> str | None:
        """The result of an earlier call with these arguments, or None."""
        if tool.cache_ttl is None:
            return None
        try:
            stored = await self._store.read(CONTROLS, (tenant, KIND), _id(tool, arguments))
        except StoreUnavailable as error:
            logger.warning("The results of %s are not reused, as the store does not answer: %s", tool.name, error)
            return None
        return stored.body["content"] if stored else None

    async def put(self, tenant: str, tool: Tool, arguments: str, content: str) -> None:
        """Keep a result as long as the tool says; one that is too large is not kept."""
        if tool.cache_ttl is None:
            return
        body = {"id": _id(tool, arguments), "type": KIND, "tool": tool.name, "content": content, "ttl": tool.cache_ttl}
        try:
            await self._store.upsert(CONTROLS, (tenant, KIND), body)
        except DocumentTooLarge:
            return
        except StoreUnavailable as error:
            logger.warning("A result of %s is not kept, as the store does not answer: %s", tool.name, error)


def _id(tool: Tool, arguments: str) -> str:
    parts = [tool.name, tool.version, canonical(arguments)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
