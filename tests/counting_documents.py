"""A store that counts what is asked of another store."""

import functools
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from perdure.documents.port import Documents

COUNTED = (
    "create",
    "read",
    "read_many",
    "replace",
    "upsert",
    "delete",
    "increment",
    "batch",
    "page",
    "changes",
    "nearest",
)


@dataclass(slots=True)
class CountingDocuments:
    """Passes every operation of the port on, and counts it.

    Attributes:
        requests: How often each operation was asked for.
        bytes: JSON of all arguments and results together, in bytes.
    """

    store: Documents
    requests: Counter[str] = field(default_factory=Counter[str])
    bytes: int = 0

    def reset(self) -> None:
        self.requests.clear()
        self.bytes = 0

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.store, name)
        if name not in COUNTED:
            return operation

        @functools.wraps(operation)
        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.requests[name] += 1
            self.bytes += _size(args) + _size(kwargs)
            result = await operation(*args, **kwargs)
            self.bytes += _size(result)
            return result

        return counted


def _size(value: Any) -> int:
    return len(json.dumps(value, default=_plain, ensure_ascii=False).encode())


def _plain(value: Any) -> Any:
    slots = getattr(value, "__slots__", None)
    return {name: getattr(value, name) for name in slots} if slots else str(value)
