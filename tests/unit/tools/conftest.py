from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from perdure.tools.tool import Fact, Passage, ToolContext


@dataclass
class StoredDocuments:
    """A document search that answers from a list and remembers what it was asked."""

    passages: list[Passage] = field(default_factory=list)
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def search(self, query: str, limit: int) -> list[Passage]:
        self.asked.append((query, limit))
        return self.passages[:limit]


@dataclass
class KnownFacts:
    """Facts in a list; recalling gives the first ones."""

    known: list[str] = field(default_factory=list)

    async def remember(self, fact: str) -> bool:
        new = fact not in self.known
        self.known += [fact] if new else []
        return new

    async def recall(self, query: str, limit: int) -> list[Fact]:
        return [Fact(fact, "2026-01-31T12:00:00+00:00", 0.5) for fact in self.known[:limit]]


@dataclass
class KeptMessages:
    """An outbox that is a list."""

    messages: list[Mapping[str, object]] = field(default_factory=list)

    async def put(self, message: Mapping[str, object]) -> None:
        self.messages.append(message)


@pytest.fixture
def outbox() -> KeptMessages:
    return KeptMessages()


@pytest.fixture
def facts() -> KnownFacts:
    return KnownFacts()


@pytest.fixture
def documents() -> StoredDocuments:
    return StoredDocuments()


@pytest.fixture
def context(documents: StoredDocuments, facts: KnownFacts, outbox: KeptMessages) -> ToolContext:
    return ToolContext("tenant-1", "user-1", "task-1", "key-1", documents, facts, outbox)
