"""What models were used for, in requests and responses."""

import datetime as dt
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from perdure.domain.budget import MICRO
from perdure.stores.usage import Used

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
    """A sum; what is not told apart is null, and so is the cost if some of it is not known."""

    day: dt.date | None
    agent: str | None
    model: str | None
    user: str | None
    steps: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class UsageReport(BaseModel):
    """What models were used for from one day to another, both included."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    first: Annotated[dt.date, Field(alias="from")]
    last: Annotated[dt.date, Field(alias="to")]
    total: UsageRow
    usage: list[UsageRow]


def report(first: dt.date, last: dt.date, used: Iterable[Used], by: str) -> UsageReport:
    """Sum up what was used."""
    sums: dict[tuple[object, ...], list[Used]] = {}
    total = list(used)
    names = [name for name in ("day", "agent", "model", "user") if name in by.split(",")]
    for one in total:
        sums.setdefault(tuple(getattr(one, name) for name in names), []).append(one)
    rows = [_row(sums[key], names) for key in sorted(sums, key=lambda key: [str(part) for part in key])]
    return UsageReport(first=first, last=last, total=_row(total, []), usage=rows)


def _row(used: list[Used], names: list[str]) -> UsageRow:
    known = not any(one.unpriced for one in used)
    return UsageRow(
        day=used[0].day if "day" in names else None,
        agent=used[0].agent if "agent" in names else None,
        model=used[0].model if "model" in names else None,
        user=used[0].user if "user" in names else None,
        steps=sum(one.steps for one in used),
        input_tokens=sum(one.input_tokens for one in used),
        output_tokens=sum(one.output_tokens for one in used),
        cost_usd=sum(one.micro_usd for one in used) / MICRO if known else None,
    )
