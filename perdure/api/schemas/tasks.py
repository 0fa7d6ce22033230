"""Tasks in requests and responses."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel, StringConstraints

from perdure.agents import BudgetDefinition
from perdure.domain.approval import call_id
from perdure.domain.budget import MICRO, Price
from perdure.domain.task import LedgerEntry, Step, Task, TaskRecord

type Query = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100_000, pattern=r"\S")]

CONTENT = 4096
"""Most characters of one tool result in a response. A task may have thousands of calls."""


class BudgetRequest(BudgetDefinition):
    """What a task may use; absent, or more than its agent may, is what the agent may.

    Attributes:
        tokens: Tokens of messages and replies together, of all steps.
        usd: US dollars.
        steps: Model turns.
        seconds: Seconds from submission.
    """

    steps: Annotated[int | None, Field(ge=1, le=1000)] = None
    seconds: Annotated[float | None, Field(gt=0, le=7 * 24 * 3600)] = None


class TaskRequest(BaseModel):
    """A query for an agent.

    Attributes:
        query: What is asked, 1 to 100,000 characters.
        context: Anything the agent should know besides, as a JSON object.
        agent: Name of the agent; the default one when absent.
        thread_id: The conversation to continue, or to start; its name is the caller's choice.
        if_busy: When another task writes that conversation: `reject` the request (409) or `queue` the task.
        budget: What the task may use, if that is less than the agent may.
        metadata: Kept with the task and given back unread.
    """

    model_config = ConfigDict(extra="forbid")

    query: Query
    context: dict[str, JsonValue] | None = None
    agent: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    thread_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")] | None = None
    if_busy: Literal["reject", "queue"] = "reject"
    budget: BudgetRequest | None = None
    metadata: Annotated[dict[str, Annotated[str, StringConstraints(max_length=512)]], Field(max_length=16)] = {}


class TaskListQuery(BaseModel):
    """Which of the caller's tasks are listed.

    Attributes:
        limit: How many at most.
        continuation: What the page before gave, to read on from there.
    """

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    continuation: str | None = None


class ManagementUrls(BaseModel):
    """Where a durable operation is looked at and managed, as every Durable Functions app answers it."""

    model_config = ConfigDict(extra="allow")

    id: str
    statusQueryGetUri: str  # noqa: N815 - Durable Functions spells it so.
    sendEventPostUri: str  # noqa: N815 - as above.
    terminatePostUri: str  # noqa: N815 - as above.


class TaskQuery(BaseModel):
    """How a task is looked at.

    Attributes:
        wait: Seconds to wait for its end before it is shown as it stands.
    """

    wait: Annotated[int, Field(ge=0, le=60)] = 0


class StatusQuery(BaseModel):
    """What the status of an orchestration tells besides.

    Attributes:
        showHistory: Also the events of its history.
        showHistoryOutput: With what activities returned; these are references and outcomes.
        showInput: With its input, which is a reference.
    """

    showHistory: bool = False  # noqa: N815 - Durable Functions spells it so.
    showHistoryOutput: bool = False  # noqa: N815 - as above.
    showInput: bool = True  # noqa: N815 - as above.


class EventData(RootModel[JsonValue]):
    """What an event carries: any JSON."""


class ReasonQuery(BaseModel):
    """Why an orchestration is changed; it is noted in its history."""

    reason: Annotated[str, StringConstraints(max_length=500)] = ""


class StartedTask(ManagementUrls):
    """A task that was taken on."""

    task_id: str
    status: Literal["processing"]


class ToolCallView(BaseModel):
    """One tool call; `result` is what the model was told, cut to 4,096 characters. `cost_usd` is what the tool said.

    Attributes:
        same_as: The call of the same turn that this one repeats. It is not run, and has the outcome of that one.
        task_id: The task that answers it, when another agent is asked.
    """

    call_id: str
    same_as: str | None
    task_id: str | None
    tool: str
    input: str
    step: int
    index: int
    state: str
    result: str | None
    result_truncated: bool
    started_at: datetime | None
    ended_at: datetime | None
    cost_usd: float

    @classmethod
    def of(cls, call: LedgerEntry) -> "ToolCallView":
        content = call.content
        return cls(
            call_id=call_id(call.step, call.index),
            same_as=None if call.same_as is None else call_id(call.step, call.same_as),
            task_id=call.asked,
            tool=call.tool,
            input=call.arguments,
            step=call.step,
            index=call.index,
            state=call.state,
            result=content and content[:CONTENT],
            result_truncated=content is not None and len(content) > CONTENT,
            started_at=call.started_at,
            ended_at=call.ended_at,
            cost_usd=call.micro_usd / MICRO,
        )


class UsageView(BaseModel):
    """Tokens and model steps so far, those of agents that were asked and have ended included; `cost_usd` is null when
    nobody knows what a model costs."""

    input_tokens: int
    output_tokens: int
    steps: int
    cost_usd: float | None


class StepView(BaseModel):
    """One model step, the model that answered, and what it cost."""

    step: int
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    started_at: datetime
    ended_at: datetime

    @classmethod
    def of(cls, step: Step, price: Price | None) -> "StepView":
        return cls(
            step=step.number,
            model=step.model,
            input_tokens=step.usage.input_tokens,
            output_tokens=step.usage.output_tokens,
            cost_usd=price.of(step.usage) / MICRO if price else None,
            started_at=step.started_at,
            ended_at=step.ended_at,
        )


class TaskSummary(BaseModel):
    """A task without its steps.

    Attributes:
        parent_id: The task for which an agent started this one; null when a person did.
    """

    task_id: str
    parent_id: str | None
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
    steps: list[StepView]
    usage: UsageView

    @classmethod
    def of_record(cls, record: TaskRecord) -> "TaskView":
        usage = record.usage
        return cls(
            **_summary(record.task),
            result=record.task.result,
            thoughts=[step.text for step in record.steps if step.calls and step.text],
            tool_calls=[ToolCallView.of(call) for call in record.told_calls],
            steps=[StepView.of(step, record.price(step)) for step in record.steps],
            usage=UsageView(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                steps=record.bill.steps,
                cost_usd=record.cost_usd,
            ),
        )


def _summary(task: Task) -> dict[str, Any]:
    return {
        "task_id": task.id,
        "parent_id": task.origin and task.origin.task,
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


class EventsQuery(BaseModel):
    """Which of a task's events are told.

    Attributes:
        cursor: The id of the last event that was seen; the header `Last-Event-ID` says the same.
        wait: Seconds to wait for the first event, for clients that ask for JSON.
    """

    cursor: str | None = None
    wait: Annotated[int, Field(ge=0, le=60)] = 0


class EventView(BaseModel):
    """One event of a task, with what a server-sent event of it would say."""

    id: str | None
    event: str
    data: dict[str, Any]


class EventsView(BaseModel):
    """Events of a task in their order.

    Attributes:
        cursor: Asks for the events after these.
        ended: Whether these are the last.
    """

    events: list[EventView]
    cursor: str | None
    ended: bool


class TaskPageView(BaseModel):
    """Some of the caller's tasks, newest first. `continuation` asks for the next ones; null when there are none."""

    tasks: list[TaskSummary]
    continuation: str | None
