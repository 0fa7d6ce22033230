"""How an increment is done once, however often it is sent: each process marks the documents it counts in.

Every operation of a process has a number above those before it. A patch that counts also writes the number down in the
document, and is refused when one as high is there: it was done before.
"""

import secrets
import time
from collections.abc import Mapping
from typing import Any

from perdure.documents.cosmos_containers import MARKS
from perdure.documents.cosmos_ids import key
from perdure.documents.cosmos_items import BatchItem, pointer
from perdure.documents.port import Body, Create, Delete, Increment, Operation, Replace, Upsert

MAX_MARKS = 32
"""Marks of processes that a document may carry before those of old ones are removed."""

OLD_SECONDS = 600
"""Age at which a process's mark has no use: no operation is repeated for so long."""

MAX_PATCH = 10
"""Steps of one patch. Azure Cosmos DB's limit."""


class OperationNumbers:
    """The numbers of one process's operations."""

    def __init__(self) -> None:
        # A letter first, so that it is a name in a query.
        self._process = f"p{secrets.token_hex(6)}"
        self._last_number = 0

    def next(self) -> int:
        """The number of another operation."""
        # Microseconds, so that a mark tells its age; a float holds them exactly until the year 2255.
        self._last_number = max(self._last_number + 1, time.time_ns() // 1000)
        return self._last_number

    def steps(self, amounts: Mapping[str, float], number: int) -> list[dict[str, Any]]:
        """What a patch does: it counts, and marks the document with the number."""
        counts = [{"op": "incr", "path": pointer(name), "value": amount} for name, amount in amounts.items()]
        return [*counts, {"op": "set", "path": f"/{MARKS}/{self._process}", "value": number}]

    def not_seen(self, number: int) -> str:
        """The condition under which a patch is done: no later operation of this process was."""
        seen = f"c.{MARKS}.{self._process}"
        return f"FROM c WHERE NOT IS_DEFINED({seen}) OR {seen} < {number}"

    def in_batch(self, operation: Operation, document: Body, number: int) -> BatchItem:
        """An operation as the SDK wants it in a batch."""
        match operation:
            case Create():
                return "create", (document,)
            case Upsert():
                return "upsert", (document,)
            case Replace(_, etag):
                return "replace", (document["id"], document), {"if_match_etag": etag}
            case Delete(id):
                return "delete", (key(id),)
            case Increment(id, amounts):
                condition = {"filter_predicate": self.not_seen(number)}
                return "patch", (key(id), self.steps(amounts, number)), condition


def old_marks(item: Body) -> list[str]:
    """Marks of a document that has too many, of processes that have not counted in it for long; a patch takes them."""
    marks: dict[str, Any] = item[MARKS]
    if len(marks) <= MAX_MARKS:
        return []
    oldest = (time.time() - OLD_SECONDS) * 1_000_000
    return [name for name, number in marks.items() if isinstance(number, int) and number < oldest][:MAX_PATCH]
