"""Tasks that are running, counted for a user and for a tenant so that neither has more than its limit.

tasks                 of a tenant with a limit: {task id: [hash of its user, when it is over at the latest]}
<hash of user>        of a tenant without one, the same for one user

An entry is made when a task is started and removed when it has ended. One that was left behind, by a process that died,
counts until the task's time is over.
"""

import hashlib
import math
import time
from collections.abc import Callable
from datetime import datetime

from perdure.allowances import Allowances
from perdure.documents.port import Body, Documents
from perdure.stores.contended import ContendedDocuments
from perdure.telemetry import metrics

KIND = "active"

MARGIN_SECONDS = 300
"""How long after its time is over a task may still be about to end: a retried activity takes a minute and a half."""


class TooManyTasks(Exception):
    """A limit is reached.

    Attributes:
        whose: `user` or `tenant`.
        limit: How many tasks they may have.
    """

    def __init__(self, whose: str, limit: int) -> None:
        super().__init__(f"{limit} tasks of the {whose} are running")
        self.whose = whose
        self.limit = limit


class ActiveTasks:
    """The tasks that are running.

    Args:
        most: How many may run at once; 0 for any number.
        clock: Seconds since the epoch.
    """

    def __init__(self, store: Documents, most: Allowances, clock: Callable[[], float] = time.time) -> None:
        self._documents = ContendedDocuments(store)
        self._most = most
        self._clock = clock

    async def enter(self, tenant: str, user: str, task: str, over_by: datetime) -> None:
        """Count a task until it leaves, or is over. Counted already, it is not counted again, but perhaps for longer.

        Raises:
            TooManyTasks: There is no room for it.
        """
        whom, until = _hash(user), math.ceil(over_by.timestamp()) + MARGIN_SECONDS

        def add(body: Body) -> bool:
            tasks, now = body["tasks"], self._clock()
            if task in tasks:
                if until <= tasks[task][1]:
                    return False
                tasks[task] = [whom, until]
                body["ttl"] = max(body["ttl"], math.ceil(until - now))
                return True
            running = {id: other for id, other in tasks.items() if other[1] > now}
            own = sum(other == whom for other, _ in running.values())
            for whose, limit, count in (
                ("user", self._most.user_tasks, own),
                ("tenant", self._most.tenant_tasks, len(running)),
            ):
                if limit and count >= limit:
                    raise TooManyTasks(whose, limit)
            body["tasks"] = {**running, task: [whom, until]}
            body["ttl"] = max(1, math.ceil(max([until, *(other for _, other in running.values())]) - now))
            return True

        await self._change(tenant, user, add)

    async def leave(self, tenant: str, user: str, task: str) -> None:
        """Count a task no longer."""
        await self._change(tenant, user, lambda body: body["tasks"].pop(task, None) is not None)

    async def _change(self, tenant: str, user: str, change: Callable[[Body], bool]) -> None:
        if self._most.tenant_tasks:
            id = "tasks"
        elif self._most.user_tasks:
            id = _hash(user)
        else:
            return
        empty: Body = {"id": id, "type": KIND, "tasks": {}}
        count = 0

        def counted(body: Body) -> bool:
            nonlocal count
            changed, count = change(body), len(body["tasks"])
            return changed

        await self._documents.change((tenant, KIND), empty, counted)
        if self._most.tenant_tasks:
            metrics.tasks_active(tenant, count)


def _hash(user: str) -> str:
    return hashlib.sha256(user.encode()).hexdigest()[:32]
