"""How documents, queries and refusals look to Azure Cosmos DB, and what they mean to the storage port."""

import re
import secrets
from collections.abc import Mapping
from typing import Any

from perdure.documents.containers import Container
from perdure.documents.cosmos_account import Refused
from perdure.documents.cosmos_containers import MARKS
from perdure.documents.cosmos_ids import key, unescape
from perdure.documents.port import (
    Body,
    Create,
    Delete,
    DocumentChanged,
    DocumentError,
    DocumentExists,
    DocumentMissing,
    DocumentTooLarge,
    Increment,
    Operation,
    Partition,
    Replace,
    Stored,
    Upsert,
    describe,
)

type BatchItem = tuple[str, tuple[Any, ...]] | tuple[str, tuple[Any, ...], dict[str, Any]]
"""An operation in the form that the SDK takes."""


class Query:
    """Filters of a query with their values as parameters."""

    def __init__(self, where: Mapping[str, str]) -> None:
        self.filters: list[str] = []
        self.parameters: list[dict[str, Any]] = []
        for name, value in where.items():
            if not re.fullmatch(r"\w+", name):
                raise ValueError(f"{name!r} is not a name to filter by")
            self.add(f'c["{name}"] = {{}}', value)

    @property
    def where(self) -> str:
        return f" WHERE {' AND '.join(self.filters)}" if self.filters else ""

    def add(self, filter: str, value: Any) -> None:
        self.filters.append(filter.format(self.value(value)))

    def value(self, value: Any) -> str:
        name = f"@p{len(self.parameters)}"
        self.parameters.append({"name": name, "value": value})
        return name


def new_mark() -> str:
    """Make what tells one write from all others."""
    return secrets.token_hex(8)


def marked(stated: Body, mark: str) -> Body:
    """A body as the service gets it."""
    return {**stated, "id": key(stated["id"]), MARKS: {"by": mark}}


def stored_item(item: Mapping[str, Any]) -> Stored:
    """An item as the port knows it."""
    body = {name: value for name, value in item.items() if name != MARKS and not name.startswith("_")}
    return Stored({**body, "id": unescape(body["id"])}, item["_etag"])


def pointer(name: str) -> str:
    """The path of a top-level property in a patch."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def named(container: Container, partition: Partition, operation: Operation) -> str:
    """Name the document of an operation for an error message."""
    match operation:
        case Create(body) | Upsert(body) | Replace(body):
            return describe(container, partition, body["id"])
        case Delete(id) | Increment(id):
            return describe(container, partition, id)


def document_error(refused: Refused, what: str) -> DocumentError:
    """What a refusal means for the operation on a document."""
    match refused.status:
        case 404:
            return DocumentMissing(f"no {what}")
        case 409:
            return DocumentExists(f"{what} exists already")
        case 412:
            return DocumentChanged(f"{what} was changed by somebody else")
        case 413:
            return DocumentTooLarge(f"{what} is too large")
        case _:
            return DocumentError(str(refused))
