"""What a day and a task of a user usually cost, and when one leaves that range."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from statistics import median

DAYS = 14
"""How many days before a day its usual cost is taken from. Days without use do not count."""


@dataclass(frozen=True, slots=True)
class DayCost:
    """What an agent cost a user on a day, and how many tasks it began."""

    day: date
    agent: str
    micro_usd: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Range:
    """What is usual.

    A cost is unusual when it is above the floor and above `times` as much as is usual. Where nothing is known, as of a
    new user, the floor alone decides.

    Attributes:
        floor: Micro-dollars up to which nothing is unusual.
    """

    times: float
    floor: int

    def is_left_by(self, micro_usd: int, usual: int | None) -> bool:
        return micro_usd > max(self.floor, self.times * (usual or 0))


def usual_day(costs: Iterable[DayCost], today: date) -> int | None:
    """The median cost of the days before, in micro-dollars; None when there was none."""
    days = defaultdict[date, int](int)
    for cost in costs:
        days[cost.day] += cost.micro_usd
    days.pop(today, None)
    return round(median(days.values())) if days else None


def usual_task(costs: Iterable[DayCost], agent: str, today: date) -> int | None:
    """What a task of an agent cost on the median of the days before: of each day, its cost by its tasks."""
    days, tasks = defaultdict[date, int](int), defaultdict[date, int](int)
    for cost in costs:
        if cost.agent == agent and cost.day != today:
            days[cost.day] += cost.micro_usd
            tasks[cost.day] += cost.tasks
    means = [days[day] / tasks[day] for day in days if tasks[day]]
    return round(median(means)) if means else None
