"""Limits that many instances share: never exceeded, on every store, however many ask at once."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from perdure.allowances import Allowances
from perdure.documents.containers import CONTROLS
from perdure.documents.port import Documents
from perdure.stores.active import ActiveTasks, TooManyTasks

pytestmark = pytest.mark.anyio

SOON = datetime.now(UTC) + timedelta(minutes=10)


async def entered(instance: ActiveTasks, user: str, task: str) -> str:
    try:
        await instance.enter("t", user, task, SOON)
    except TooManyTasks as full:
        return full.whose
    return "entered"


async def listed(store: Documents) -> set[str]:
    return set((await store.page(CONTROLS, ("t", "active"))).items[0].body["tasks"])


async def test_of_sixty_four_tasks_at_once_exactly_as_many_run_as_may(store: Documents) -> None:
    instances = [ActiveTasks(store, Allowances(user_tasks=10, tenant_tasks=25)) for _ in range(8)]
    asked = [(instance, f"user-{n % 4}", f"{n}-{at}") for at, instance in enumerate(instances) for n in range(8)]
    answers = await asyncio.gather(*(entered(*one) for one in asked))
    assert Counter(answers)["entered"] == 25
    running = [
        (one, user, task) for (one, user, task), answer in zip(asked, answers, strict=True) if answer == "entered"
    ]
    assert await listed(store) == {task for _, _, task in running}
    assert max(Counter(user for _, user, _ in running).values()) <= 10
    # All leave and as many others enter at once; and those that left may be told so again.
    await asyncio.gather(*(one.leave("t", user, task) for one, user, task in [*running, *running]))
    again = await asyncio.gather(*(entered(one, "somebody", f"again-{task}") for one, _, task in asked))
    assert Counter(again) == {"entered": 10, "user": 54}
