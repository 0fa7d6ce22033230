"""The containers, their hierarchical partition keys, and what is indexed of their documents."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Container:
    """A container of documents.

    Attributes:
        partition_key: Names of the properties that make up the hierarchical partition key, outermost first.
        payload: Names of properties that no listing filters by and that may be large. Leaving them out of the index
            makes every write cheaper.
        vector: Name of the property that `nearest` compares; None when documents have none.
    """

    name: str
    partition_key: tuple[str, ...]
    payload: tuple[str, ...] = ()
    vector: str | None = None


TASKS = Container(
    "tasks",
    ("tenantId", "taskId"),
    payload=(
        "agent",
        "arguments",
        "calls",
        "comment",
        "content",
        "context",
        "detail",
        "metadata",
        "query",
        "result",
        "text",
    ),
)
THREADS = Container("threads", ("tenantId", "threadId"), payload=("calls", "comment", "content", "summary", "text"))
MEMORIES = Container("memories", ("tenantId", "scope"), payload=("heading", "text"), vector="embedding")
CONTROLS = Container("controls", ("tenantId", "kind"), payload=("content", "reserved", "result", "tasks", "use"))
OUTBOX = Container("outbox", ("tenantId", "userId"), payload=("message",))

CONTAINERS = (TASKS, THREADS, MEMORIES, CONTROLS, OUTBOX)
