"""What requests say and what responses say."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from perdure.domain.task import LedgerEntry, Task, TaskRecord
from perdure.domain.thread import Thread
from perdure.stores.memory_documents import LoadedDocument
from perdure.stores.threads import ThreadMessage

type Query = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100_000)]

CONTENT = 4096
"""Most characters of one tool result in a response. A task may have thousands of calls."""

MAX_TEXT_BYTES = 5 * 1024 * 1024
"""Largest document, in UTF-8."""

MAX_DOCUMENTS = 100
"""Most documents of one request."""


class TaskRequest(BaseModel):
    """A query for an agent.

    Attributes:
        query: What is asked, 1 to 100,000 characters.
        context: Anything the agent should know besides, as a JSON object.
        agent: Name of the agent; the default one when absent.
        thread_id: The conversation to continue, or to start; its name is the caller's choice.
        if_busy: When another task writes that conversation: `reject` the request (409) or `queue` the task.
        metadata: Kept with the task and given back unread.
    """

    model_config = ConfigDict(extra="forbid")

    query: Query
    context: dict[str, JsonValue] | None = None
    agent: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    thread_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")] | None = None
    if_busy: Literal["reject", "queue"] = "reject"
    metadata: Annotated[dict[str, Annotated[str, StringConstraints(max_length=512)]], Field(max_length=16)] = {}


def _fits(text: str) -> str:
    if (size := len(text.encode())) > MAX_TEXT_BYTES:
        raise PydanticCustomError(
            "text_too_long",
            "has {size} bytes in UTF-8; a document may have {limit}. Split it.",
            {"size": size, "limit": MAX_TEXT_BYTES},
        )
    return text


type Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
type DocumentText = Annotated[str, StringConstraints(min_length=1, pattern=r"\S"), AfterValidator(_fits)]


class DocumentRequest(BaseModel):
    """A document to be searched by the caller's agents, as text or Markdown of at most 5 MB."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    text: DocumentText


class LoadRequest(BaseModel):
    """One document, or a batch of them in `documents`."""

    model_config = ConfigDict(extra="forbid")

    title: Title | None = None
    text: DocumentText | None = None
    documents: Annotated[list[DocumentRequest], Field(min_length=1, max_length=MAX_DOCUMENTS)] | None = None

    @model_validator(mode="after")
    def _is_one_or_several(self) -> Self:
        given = {name for name in ("title", "text", "documents") if getattr(self, name) is not None}
        if given not in ({"title", "text"}, {"documents"}):
            raise PydanticCustomError("load", "give title and text of one document, or a list of them in documents")
        return self

    @property
    def all(self) -> list[DocumentRequest]:
        """The documents, whichever way they were given."""
        if self.documents is not None:
            return self.documents
        assert self.title is not None
        assert self.text is not None
        return [DocumentRequest(title=self.title, text=self.text)]


class SearchRequest(BaseModel):
    """A search in the caller's documents."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
    limit: Annotated[int, Field(ge=1, le=50, strict=True)] = 5


class ToolCallView(BaseModel):
    """One tool call; `result` is what the model was told, cut to 4,096 characters."""

    tool: str
    input: str
    step: int
    index: int
    state: str
    result: str | None
    result_truncated: bool
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, call: LedgerEntry) -> "ToolCallView":
        content = call.content
        return cls(
            tool=call.tool,
            input=call.arguments,
            step=call.step,
            index=call.index,
            state=call.state,
            result=content and content[:CONTENT],
            result_truncated=content is not None and len(content) > CONTENT,
            started_at=call.started_at,
            ended_at=call.ended_at,
        )


class UsageView(BaseModel):
    """Tokens and model steps so far."""

    input_tokens: int
    output_tokens: int
    steps: int


class TaskSummary(BaseModel):
    """A task without its steps."""

    task_id: str
    status: Literal["processing", "completed", "failed", "cancelled"]
    reason: str | None
    detail: str | None
    agent: str
    thread_id: str | None
    query: str
    metadata: dict[str, str]
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, task: Task) -> "TaskSummary":
        return cls(**_summary(task))


class TaskView(TaskSummary):
    """A task with its result. `thoughts` is the text the model wrote beside its tool calls, in order."""

    result: str | None
    thoughts: list[str]
    tool_calls: list[ToolCallView]
    usage: UsageView

    @classmethod
    def of_record(cls, record: TaskRecord) -> "TaskView":
        usage = record.usage
        return cls(
            **_summary(record.task),
            result=record.task.result,
            thoughts=[step.text for step in record.steps if step.calls and step.text],
            tool_calls=[ToolCallView.of(call) for call in record.calls],
            usage=UsageView(
                input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, steps=len(record.steps)
            ),
        )


def _summary(task: Task) -> dict[str, Any]:
    return {
        "task_id": task.id,
        "status": task.status.value,
        "reason": task.reason,
        "detail": task.detail,
        "agent": task.agent.name,
        "thread_id": task.thread,
        "query": task.query,
        "metadata": task.metadata,
        "created_at": task.created_at,
        "ended_at": task.ended_at,
    }


class DocumentView(BaseModel):
    """A loaded document; `passages` is how many it was cut into."""

    id: str
    title: str
    passages: int
    created_at: datetime

    @classmethod
    def of(cls, document: LoadedDocument) -> "DocumentView":
        return cls(**asdict(document))


class MessageView(BaseModel):
    """One message of a conversation; `content` is cut to 4,096 characters for the results of tools."""

    number: int
    task_id: str
    role: str
    content: str
    tool_calls: list[dict[str, str]]
    tool_call_id: str | None

    @classmethod
    def of(cls, stored: ThreadMessage) -> "MessageView":
        message = stored.message
        return cls(
            number=stored.number,
            task_id=stored.task,
            role=message.role,
            content=message.content[:CONTENT] if message.role == "tool" else message.content,
            tool_calls=[asdict(call) for call in message.tool_calls],
            tool_call_id=message.tool_call_id,
        )


class ThreadView(BaseModel):
    """A conversation, one page of it, oldest first. `busy` is the task that writes it now."""

    thread_id: str
    created_at: datetime
    updated_at: datetime
    length: int
    busy: str | None
    waiting: int
    summary: str | None
    messages: list[MessageView]
    continuation: str | None

    @classmethod
    def of(cls, thread: Thread, messages: Sequence[ThreadMessage]) -> "ThreadView":
        read = messages[-1].number + 1 if messages else thread.length
        return cls(
            thread_id=thread.name,
            created_at=thread.created_at,
            updated_at=thread.updated_at,
            length=thread.length,
            busy=thread.writer(datetime.now(UTC)),
            waiting=len(thread.queue),
            summary=thread.summary.text or None,
            messages=[MessageView.of(message) for message in messages],
            continuation=str(read) if read < thread.length else None,
        )
