"""Limits that many instances share: never exceeded, on every store, however many ask at once."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from perdure.allowances import Allowances
from perdure.documents.containers import CONTROLS
from perdure.documents.port import Documents
from perdure.domain.budget import Budget, BudgetBusy, Call
from perdure.domain.messages import Usage
from perdure.stores.active import ActiveTasks, TooManyTasks
from perdure.stores.usage import UsageStore

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


async def test_sixty_four_calls_at_once_reserve_no_more_than_the_budgets(store: Documents) -> None:
    at = datetime.now(UTC)
    instances = [UsageStore(store, Budget(10_000), Budget(25_000), 60) for _ in range(8)]
    names = [f"{n}-{i}" for i in range(8) for n in range(8)]
    calls = [Call("t", f"user-{ord(name[0]) % 4}", name, 1, "a", "m", None, Usage(100, 900), at) for name in names]

    async def reserved(instance: UsageStore, call: Call) -> Call | None:
        try:
            assert await instance.reserve(call) == 900
        except BudgetBusy:
            return None
        return call

    async def commit(instance: UsageStore, call: Call) -> None:
        await instance.commit(call, Usage(90, 10))

    found = await asyncio.gather(*(reserved(instances[n % 8], call) for n, call in enumerate(calls)))
    paid = [call for call in found if call]
    # What one user's budget lets through, the tenant's may refuse, and in that moment it is missing to others.
    assert 0 < len(paid) <= 25
    assert max(Counter(call.user for call in paid).values()) <= 10
    # Committed by all at once, and twice, each counts once.
    await asyncio.gather(*(commit(instances[n % 8], call) for n, call in enumerate([*paid, *paid])))
    day = at.date()
    used = [one async for one in instances[0].of_tenant("t", day, day)]
    assert (sum(one.steps for one in used), sum(one.input_tokens for one in used)) == (len(paid), 90 * len(paid))
    month = (await store.page(CONTROLS, ("t", "usage"), where={"type": "tenantUsage"})).items[0].body
    assert (month["reserved"], month["use"]["a"]["m"]["steps"]) == ({}, len(paid))
