"""Results of tools that may be reused for a while, per tenant."""

import hashlib
import json

from perdure.documents.containers import CONTROLS
from perdure.documents.port import Documents, DocumentTooLarge
from perdure.domain.arguments import canonical
from perdure.tools.tool import Tool

KIND = "toolCache"


class ToolCache:
    """Results by tool, its version and the arguments, whoever asked."""

    def __init__(self, store: Documents) -> None:
        self._store = store

    async def get(self, tenant: str, tool: Tool, arguments: str) -> str | None:
        """The result of an earlier call with these arguments, or None."""
        if tool.cache_ttl is None:
            return None
        stored = await self._store.read(CONTROLS, (tenant, KIND), _id(tool, arguments))
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


def _id(tool: Tool, arguments: str) -> str:
    parts = [tool.name, tool.version, canonical(arguments)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
