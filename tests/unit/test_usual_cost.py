"""What is usual, and when it is left."""

from datetime import date, timedelta

import pytest

from perdure.domain.usual_cost import DayCost, Range, usual_day, usual_task

TODAY = date(2030, 1, 31)


def cost(days_ago: int, micro_usd: int, tasks: int = 1, agent: str = "a") -> DayCost:
    return DayCost(TODAY - timedelta(days=days_ago), agent, micro_usd, tasks)


def test_the_usual_day_is_the_median_of_the_days_with_use_before_today() -> None:
    assert usual_day([cost(1, 10), cost(1, 20, agent="b"), cost(3, 100), cost(5, 1), cost(0, 10**9)], TODAY) == 30
    assert usual_day([cost(0, 10**9)], TODAY) is None


def test_the_usual_task_is_the_median_of_the_days_means_of_its_agent() -> None:
    costs = [cost(1, 100, tasks=10), cost(2, 40, tasks=2), cost(3, 900, tasks=1), cost(2, 10**9, agent="b"), cost(0, 7)]
    assert usual_task(costs, "a", TODAY) == 20
    assert usual_task(costs, "c", TODAY) is None


def test_a_day_whose_tasks_began_the_day_before_says_nothing_about_tasks() -> None:
    assert usual_task([cost(1, 100, tasks=0)], "a", TODAY) is None


@pytest.mark.parametrize(
    ("micro_usd", "usual", "unusual"),
    [
        (1_000, None, False),  # At the floor.
        (1_001, None, True),  # Nobody knows what is usual: the floor decides.
        (1_001, 500, False),
        (2_500, 500, False),
        (2_501, 500, True),
        (1_001, 0, True),
    ],
)
def test_the_range_is_left_above_the_floor_and_above_a_multiple(
    micro_usd: int, usual: int | None, unusual: bool
) -> None:
    assert Range(times=5, floor=1_000).is_left_by(micro_usd, usual) is unusual
