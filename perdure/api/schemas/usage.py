"""What models were used for, in requests and responses."""

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from perdure.domain.budget import MICRO
from perdure.stores.usage import ToolsUsed, Used

type By = Annotated[
    str, StringConstraints(pattern=r"^(day|agent|model|user)(,(day|agent|model|user)){0,3}$", max_length=64)
]


class UsageQuery(BaseModel):
    """Whose use is shown, of which days, and how it is summed up.

    Attributes:
        first: First day, in UTC; 29 days before the last when absent, and 399 at most.
        last: Last day, in UTC; today when absent.
        user: One user of the tenant, for administrators. Absent: of all, for administrators; of oneself, for others.
        by: What is told apart: some of `day`, `agent`, `model` and `user`, with commas between.
    """

    model_config = ConfigDict(validate_by_name=True)

    first: Annotated[dt.date | None, Field(alias="from")] = None
    last: Annotated[dt.date | None, Field(alias="to")] = None
    user: Annotated[str | None, StringConstraints(min_length=1, max_length=200)] = None
    by: By = "day,agent,model,user"


class UsageRow(BaseModel):
    """A sum; what is not told apart is null, and so is the cost if some of it is not known. `tasks` are those begun."""

    day: dt.date | None
    agent: str | None
    model: str | None
    user: str | None
    tasks: int
    steps: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class ToolRow(BaseModel):
    """Calls of a tool that ran; `seconds` one after another, `cost_usd` as far as the tool said what it cost."""

    day: dt.date | None
    agent: str | None
    user: str | None
    tool: str
    calls: int
    failed: int
    seconds: float
    cost_usd: float


class UsageReport(BaseModel):
    """What models and tools were used for from one day to another, both included."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    first: Annotated[dt.date, Field(alias="from")]
    last: Annotated[dt.date, Field(alias="to")]
    total: UsageRow
    usage: list[UsageRow]
    tools: list[ToolRow]


def report(first: dt.date, last: dt.date, used: Iterable[Used | ToolsUsed], by: str) -> UsageReport:
    """Sum up what was used."""
    models, tools = list[Used](), list[ToolsUsed]()
    for one in used:
        if isinstance(one, Used):
            models.append(one)
        else:
            tools.append(one)
    names = [name for name in ("day", "agent", "model", "user") if name in by.split(",")]
    of_tools = [name for name in names if name != "model"]
    rows = [_row(group, names) for group in _groups(models, lambda one: [getattr(one, name) for name in names])]
    groups = _groups(tools, lambda one: [*(getattr(one, name) for name in of_tools), one.use.tool])
    tool_rows = [_tool_row(group, of_tools) for group in groups]
    return UsageReport(first=first, last=last, total=_row(models, []), usage=rows, tools=tool_rows)


def _groups[T](used: Iterable[T], key: Callable[[T], list[object]]) -> list[list[T]]:
    """What has the same key, in the order of keys."""
    groups: dict[tuple[str, ...], list[T]] = {}
    for one in used:
        groups.setdefault(tuple(map(str, key(one))), []).append(one)
    return [groups[key] for key in sorted(groups)]


def _tool_row(used: list[ToolsUsed], names: list[str]) -> ToolRow:
    return ToolRow(
        day=used[0].day if "day" in names else None,
        agent=used[0].agent if "agent" in names else None,
        user=used[0].user if "user" in names else None,
        tool=used[0].use.tool,
        calls=sum(one.use.calls for one in used),
        failed=sum(one.use.failed for one in used),
        seconds=sum(one.use.milliseconds for one in used) / 1000,
        cost_usd=sum(one.use.micro_usd for one in used) / MICRO,
    )


def _row(used: list[Used], names: list[str]) -> UsageRow:
    known = not any(one.unpriced for one in used)
    return UsageRow(
        day=used[0].day if "day" in names else None,
        agent=used[0].agent if "agent" in names else None,
        model=used[0].model if "model" in names else None,
        user=used[0].user if "user" in names else None,
        tasks=sum(one.tasks for one in used),
        steps=sum(one.steps for one in used),
        input_tokens=sum(one.input_tokens for one in used),
        output_tokens=sum(one.output_tokens for one in used),
        cost_usd=sum(one.micro_usd for one in used) / MICRO if known else None,
    )
