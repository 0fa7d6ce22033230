"""Every route of the app in one table: the scope it asks for, what it takes and what it answers.

The triggers bind their handlers to these routes, and the OpenAPI document is made from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from perdure.api.schemas.approvals import ApprovalListQuery, ApprovalPageView, ApprovalView, DecisionRequest
from perdure.api.schemas.catalogue import AgentsView, Health, ToolsView
from perdure.api.schemas.keys import KeyListQuery, KeyPageView, KeyRequest, KeyView, NewKeyView
from perdure.api.schemas.memory import (
    DocumentListQuery,
    DocumentPageView,
    FoundPassages,
    LoadedDocuments,
    LoadRequest,
    SearchRequest,
    StartedIngestion,
)
from perdure.api.schemas.privacy import ErasureView
from perdure.api.schemas.tasks import (
    EventData,
    EventsQuery,
    EventsView,
    ReasonQuery,
    StartedTask,
    StatusQuery,
    TaskListQuery,
    TaskPageView,
    TaskQuery,
    TaskRequest,
    TaskSummary,
    TaskView,
)
from perdure.api.schemas.threads import ThreadQuery, ThreadView
from perdure.api.schemas.usage import UsageQuery, UsageReport
from perdure.domain.principal import Scope


@dataclass(frozen=True, slots=True)
class Header:
    """A request header that may be sent; `pattern` is what its value must match."""

    name: str
    said: str
    pattern: str


IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "The same request with the same key within a day is the same task.",
    r'^("[ !#-~]{1,255}"|[!#-~]{1,255})$',
)


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        path: Below `/api/`, with the names of its parameters in braces.
        scope: What the caller's credential must be good for; None opens the route to everybody.
        summary: What it does, in one line.
        answers: What it says when all is well, by status: a model of the JSON, a media type, or None for no body.
        takes: The JSON body; None when it reads none.
        query: The query parameters; None when it reads none.
        problems: Error statuses of its own, beside those that follow from the rest.
        headers: Request headers it reads.
        stream: Whether it may also be answered as server-sent events.
        examples: Bodies that are taken, by what they show. The documentation has them, and tests send them.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    scope: Scope | None
    summary: str
    answers: Mapping[int, type[BaseModel] | str | None]
    takes: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    problems: tuple[int, ...] = ()
    headers: tuple[Header, ...] = ()
    stream: bool = False
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    @property
    def binding(self) -> dict[str, Any]:
        """What the Functions route decorator wants to know."""
        return {"route": self.path, "methods": [self.method]}

    @property
    def rate(self) -> Literal["start", "read", "write"]:
        """The class whose limit its requests count towards."""
        if self.method == "POST" and self.path in ("agent/task", "memory/documents"):
            return "start"
        return "read" if self.method == "GET" or self.scope == "task:read" else "write"

    @property
    def action(self) -> str:
        """The part of the path after the id of the thing; empty when there is none."""
        return self.path.partition("}/")[2].partition("/")[0]

    @property
    def tag(self) -> str:
        """The part of the API it belongs to."""
        return self.path.removeprefix("agent/").partition("/")[0]


START_TASK = Route(
    "POST",
    "agent/task",
    "task:run",
    "Start a task",
    {202: StartedTask},
    takes=TaskRequest,
    headers=(IDEMPOTENCY_KEY,),
    problems=(409,),
    examples={
        "a question": {"query": "What is 17 * 23, and how many miles are 42 km?"},
        "the next turn of a conversation": {
            "query": "And in nautical miles?",
            "agent": "assistant",
            "context": {"audience": "sailors"},
            "thread_id": "units",
            "if_busy": "queue",
            "budget": {"tokens": 50_000, "usd": 0.25, "steps": 8, "seconds": 120},
            "metadata": {"team": "docs"},
        },
    },
)
LIST_TASKS = Route("GET", "agent/task", "task:read", "List your tasks", {200: TaskPageView}, query=TaskListQuery)
GET_TASK = Route(
    "GET", "agent/task/{task_id}", "task:read", "Look at a task", {200: TaskView, 202: TaskView}, query=TaskQuery
)
FOLLOW_TASK = Route(
    "GET",
    "agent/task/{task_id}/events",
    "task:read",
    "Follow a task as server-sent events, or as JSON for those who accept nothing else",
    {200: EventsView, 204: None},
    query=EventsQuery,
    problems=(400,),
    stream=True,
)
CANCEL_TASK = Route(
    "POST", "agent/task/{task_id}/cancel", "task:run", "Cancel a task", {200: TaskSummary}, problems=(409,)
)
LIST_APPROVALS = Route(
    "GET", "approvals", "approve", "List the tool calls that wait for your decision",
    {200: ApprovalPageView}, query=ApprovalListQuery,
)  # fmt: skip
DECIDE_APPROVAL = Route(
    "POST",
    "agent/task/{task_id}/approvals/{approval_id}",
    "approve",
    "Approve or reject a tool call, or say what became of it",
    {200: ApprovalView},
    takes=DecisionRequest,
    problems=(409,),
    examples={
        "yes": {"decision": "approve"},
        "no": {"decision": "reject", "comment": "Write to the whole team instead."},
        "it took effect": {"resolve": "committed", "result": "The order is A-1042.", "comment": "Seen in the shop."},
        "it did not": {"resolve": "failed", "comment": "The shop has no such order."},
        "once more": {"resolve": "retry"},
    },
)
GET_THREAD = Route(
    "GET", "agent/threads/{thread_id}", "task:read", "Read a conversation", {200: ThreadView}, query=ThreadQuery
)
ERASE_THREAD = Route(
    "DELETE",
    "agent/threads/{thread_id}",
    "task:run",
    "Erase a conversation, with its tasks",
    {200: ErasureView, 202: ErasureView},
)
ERASE_USER = Route("DELETE", "users/{user_id}", "admin", "Erase a user's data", {200: ErasureView, 202: ErasureView})
EXPORT_USER = Route(
    "GET", "users/{user_id}/export", "admin", "Export a user's data as JSON lines", {200: "application/x-ndjson"}
)
GET_ERASURE = Route("GET", "erasures/{erasure_id}", "task:read", "Read the receipt of an erasure", {200: ErasureView})
LOAD_DOCUMENTS = Route(
    "POST",
    "memory/documents",
    "memory:write",
    "Load documents for your agents to search",
    {200: LoadedDocuments, 202: StartedIngestion},
    takes=LoadRequest,
    problems=(409,),
    examples={
        "one document": {"title": "Leave policy", "text": "# Leave\n\nEverybody has 30 days of leave a year."},
        "several": {"documents": [{"title": "Travel", "text": "Trains are preferred."}]},
    },
)
LIST_DOCUMENTS = Route(
    "GET", "memory/documents", "task:read", "List your documents", {200: DocumentPageView}, query=DocumentListQuery
)
REMOVE_DOCUMENT = Route("DELETE", "memory/documents/{document_id}", "memory:write", "Remove a document", {204: None})
SEARCH_MEMORY = Route(
    "POST",
    "memory/search",
    "task:read",
    "Search your documents",
    {200: FoundPassages},
    takes=SearchRequest,
    examples={"a question": {"query": "How many days of leave are there?", "limit": 3}},
)
LIST_AGENTS = Route("GET", "agents", "task:read", "List the agents", {200: AgentsView})
LIST_TOOLS = Route("GET", "tools", "task:read", "List the tools", {200: ToolsView})
GET_USAGE = Route(
    "GET",
    "usage",
    "task:read",
    "See what models and tools were used for, and what it cost",
    {200: UsageReport},
    query=UsageQuery,
)
MAKE_KEY = Route(
    "POST",
    "keys",
    "admin",
    "Make an API key",
    {201: NewKeyView},
    takes=KeyRequest,
    examples={
        "for a person": {"user": "ann", "scopes": ["task:run", "task:read", "memory:write"]},
        "for a service, for 90 days": {
            "user": "billing-service",
            "scopes": ["task:run"],
            "label": "nightly report",
            "expires_in": 7_776_000,
        },
    },
)
LIST_KEYS = Route("GET", "keys", "admin", "List your tenant's API keys", {200: KeyPageView}, query=KeyListQuery)
GET_KEY = Route("GET", "keys/{key_id}", "admin", "Look at an API key", {200: KeyView})
REVOKE_KEY = Route("DELETE", "keys/{key_id}", "admin", "Revoke an API key", {204: None})
HEALTH = Route("GET", "health", None, "Say whether the app is well", {200: Health})

OPENAPI = Route("GET", "openapi.json", None, "Describe the API", {200: "application/json"})
DOCS = Route("GET", "docs", None, "Read the documentation and try it", {200: "text/html"})
DOCS_ASSET = Route("GET", "docs/{asset}", None, "What the documentation page loads", {200: "*/*"})


def _management(path: str, look: Scope, change: Scope) -> tuple[Route, ...]:
    """The routes that stand for the built-in management URLs of an operation."""
    json, gone = "application/json", {410: None}
    return (
        Route("GET", f"{path}/status", look, "Follow the orchestration", {200: json, 202: json}, query=StatusQuery),
        Route("DELETE", f"{path}/status", change, "Purge the durable history", {200: json, 412: json}),
        Route(
            "POST", f"{path}/raiseEvent/{{event_name}}", change, "Send the orchestration an event",
            {202: None, 400: json, **gone}, takes=EventData,
        ),
        *(
            Route("POST", f"{path}/{name}", change, summary, {202: None, **gone}, query=ReasonQuery, problems=(413,))
            for name, summary in (
                ("terminate", "End the orchestration at once"),
                ("suspend", "Let the orchestration pause"),
                ("resume", "Let the orchestration go on"),
            )
        ),
        *(
            Route("POST", f"{path}/{name}", change, summary, {}, problems=(409,))
            for name, summary in (("rewind", "Refused: nothing is run again"), ("restart", "Refused: it runs once"))
        ),
    )  # fmt: skip


TASK_MANAGEMENT = _management("agent/task/{task_id}", "task:read", "task:run")
INGESTION_MANAGEMENT = _management("memory/ingestions/{ingestion_id}", "memory:write", "memory:write")


def name_of(route: Route) -> str:
    """Name a management route by what it does to which operation, as in `terminate_task`."""
    thing = "task" if route in TASK_MANAGEMENT else "ingestion"
    verb = "purge" if route.method == "DELETE" else {"raiseEvent": "raise_event_in"}.get(route.action, route.action)
    return f"{verb}_{thing}"


OPERATIONS = {name.lower(): value for name, value in globals().copy().items() if isinstance(value, Route)} | {
    name_of(route): route for route in (*TASK_MANAGEMENT, *INGESTION_MANAGEMENT)
}
"""All of them by name, in the order in which they stand above."""

ROUTES = tuple(OPERATIONS.values())
