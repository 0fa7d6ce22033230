"""What users and tenants have used of models, and have reserved.

<day>-<hash of user>    what a user used on a day, by agent and model
<month>                 what all users of a tenant used in a month, without saying who; kept only for a tenant's budget

A call is reserved before it is made, for as much as it may come to, and then either committed, for what it came to, or
released. Each is one compare-and-swap of each document, and may be repeated: a reservation is called after task and
step, so a call reserved again has one reservation; who commits takes it away, so who commits again finds none and does
nothing. A reservation that nobody resolved until its time is over counts as used, for the call may have been made.
"""

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from perdure.documents.containers import CONTROLS
from perdure.documents.port import Body, DocumentError, Documents
from perdure.domain.budget import Account, Budget, BudgetBusy, BudgetExceeded, Call, Spent, room
from perdure.domain.messages import Usage
from perdure.domain.tool_use import ToolUse
from perdure.stores.contended import ContendedDocuments

KIND = "usage"
USER, TENANT = "usage", "tenantUsage"

KEPT_SECONDS = 400 * 24 * 3600
"""A year of bills, and a month to look at them."""

PAGE = 500


@dataclass(frozen=True, slots=True)
class Used:
    """What a user's agent used of a model on a day.

    Attributes:
        micro_usd: What it cost, as far as the price was known.
        unpriced: Steps whose price was not.
        tasks: How many began.
    """

    day: date
    user: str
    agent: str
    model: str
    steps: int
    input_tokens: int
    output_tokens: int
    micro_usd: int
    unpriced: int
    tasks: int = 0


@dataclass(frozen=True, slots=True)
class ToolsUsed:
    """What a user's agent used of a tool on a day."""

    day: date
    user: str
    agent: str
    use: ToolUse


@dataclass(frozen=True, slots=True)
class _Book:
    """A document, and the budget it is kept for."""

    empty: Body
    account: Account


class UsageStore:
    """Use of models, and reservations.

    Args:
        user_day: What a user may use in a day.
        tenant_month: What a tenant may use in a month.
        patience: Seconds after which a reservation counts as used: longer than a call takes.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        store: Documents,
        user_day: Budget,
        tenant_month: Budget,
        patience: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._documents = ContendedDocuments(store)
        self._user_day = user_day
        self._tenant_month = tenant_month
        self._patience = patience
        self._clock = clock

    async def reserve(self, call: Call) -> int:
        """Reserve what a call may come to; returns the longest reply that there is room for, in tokens.

        Raises:
            BudgetExceeded: A budget has no room for it.
            BudgetBusy: It may have some when other calls have ended.
        """
        reply = call.usage.output_tokens
        for book in self._books(call):
            try:
                reply = min(reply, await self._reserve(book, call))
            except (BudgetExceeded, BudgetBusy):
                # Whoever gave room for nothing has it back at once; if not, when the reservation's time is over.
                with suppress(DocumentError):
                    await self.release(call)
                raise
        return reply

    async def commit(self, call: Call, usage: Usage, tools: Sequence[ToolUse] = ()) -> None:
        """Count what a call came to in place of its reservation, if that is still there.

        Args:
            tools: What came before it since the last call, to be counted along with it: that takes no write of its own.
        """

        def change(body: Body) -> bool:
            if (hold := body["reserved"].pop(call.key, None)) is None:
                return False
            # By the model that answered: the reservation may be that of another attempt, which asked another.
            _add(body, call.key, hold | {"model": call.model}, usage, call.price.of(usage) if call.price else None)
            _add_tools(body, call.agent, tools)
            return True

        for book in self._books(call):
            await self._change(book, call, change)

    async def add_tools(self, tenant: str, user: str, agent: str, at: datetime, tools: Sequence[ToolUse]) -> None:
        """Count use of tools that no call of a model comes after."""

        def change(body: Body) -> bool:
            _add_tools(body, agent, tools)
            return bool(tools)

        await self._documents.change((tenant, KIND), _own(user, at.astimezone(UTC).date()), change)

    async def note_alert(self, tenant: str, user: str, day: date) -> bool:
        """Note that somebody is told of what a user's day cost; True for the first who does."""

        def change(body: Body) -> bool:
            return not body.get("alerted") and bool(body.setdefault("alerted", True))

        return await self._documents.change((tenant, KIND), _own(user, day), change)

    async def release(self, call: Call) -> None:
        """Give back what was reserved for a call that came to nothing."""
        for book in self._books(call):
            await self._change(book, call, lambda body: body["reserved"].pop(call.key, None) is not None)

    async def of_user(self, tenant: str, user: str, first: date, last: date) -> AsyncIterator[Used | ToolsUsed]:
        """What a user used from one day to another, both included."""
        ids = [_user_id(day, user) for day in _days(first, last)]
        for stored in sorted(
            await self._store.read_many(CONTROLS, (tenant, KIND), ids), key=lambda stored: stored.body["id"]
        ):
            for used in self._used(stored.body):
                yield used

    async def of_tenant(self, tenant: str, first: date, last: date) -> AsyncIterator[Used | ToolsUsed]:
        """What all users of a tenant used from one day to another, both included."""
        for month in dict.fromkeys(f"{day:%Y-%m}" for day in _days(first, last)):
            async for body in self._month(tenant, month):
                if first <= date.fromisoformat(body["day"]) <= last:
                    for used in self._used(body):
                        yield used

    async def _month(self, tenant: str, month: str) -> AsyncIterator[Body]:
        continuation = None
        while True:
            page = await self._store.page(
                CONTROLS,
                (tenant, KIND),
                where={"type": USER},
                id_prefix=f"{month}-",
                limit=PAGE,
                continuation=continuation,
            )
            for stored in page.items:
                yield stored.body
            if (continuation := page.continuation) is None:
                return

    def _used(self, body: Body) -> list[Used | ToolsUsed]:
        _settle(body, "", self._clock())
        day, user = date.fromisoformat(body["day"]), body["user"]
        tools = body.get("tools", {})
        return [
            *(Used(day, user, agent, model, **use) for agent, by in body["use"].items() for model, use in by.items()),
            *(ToolsUsed(day, user, agent, ToolUse(t, **use)) for agent, by in tools.items() for t, use in by.items()),
        ]

    async def _reserve(self, book: _Book, call: Call) -> int:
        reply = 0

        def change(body: Body) -> bool:
            nonlocal reply
            others = [hold for key, hold in body["reserved"].items() if key != call.key]
            reply = room(book.account, _spent(body), sum(map(_held, others), Spent()), call)
            body["reserved"][call.key] = self._hold(call.bounded(reply))
            return True

        await self._change(book, call, change)
        return reply

    async def _change(self, book: _Book, call: Call, change: Callable[[Body], bool]) -> None:
        def settled(body: Body) -> bool:
            expired = _settle(body, call.key, self._clock())
            return change(body) or expired

        await self._documents.change((call.tenant, KIND), book.empty, settled)

    def _hold(self, call: Call) -> Body:
        return {
            "agent": call.agent,
            "model": call.model,
            "input_tokens": call.usage.input_tokens,
            "output_tokens": call.usage.output_tokens,
            "micro_usd": call.price.of(call.usage) if call.price else None,
            "until": self._clock() + self._patience,
        }

    def _books(self, call: Call) -> list[_Book]:
        day = call.at.astimezone(UTC).date()
        own = _own(call.user, day)
        books = [_Book(own, Account(f"Your budget for {day}", self._user_day, _midnight(day + timedelta(days=1))))]
        if self._tenant_month:
            month, renews = f"{day:%Y-%m}", _midnight(_next_month(day))
            account = Account(f"Your tenant's budget for {month}", self._tenant_month, renews)
            books.append(_Book(_empty(month, TENANT), account))
        return books


def _own(user: str, day: date) -> Body:
    return _empty(_user_id(day, user), USER) | {"day": day.isoformat(), "user": user}


def _empty(id: str, type: str) -> Body:
    return {"id": id, "type": type, "use": {}, "reserved": {}, "ttl": KEPT_SECONDS}


def _settle(body: Body, own: str, now: float) -> bool:
    """Count reservations as used whose time is over, but for one's own. Says whether there were any."""
    expired = [key for key, hold in body["reserved"].items() if hold["until"] <= now and key != own]
    for key in expired:
        hold = body["reserved"].pop(key)
        _add(body, key, hold, Usage(hold["input_tokens"], hold["output_tokens"]), hold["micro_usd"])
    return bool(expired)


def _add_tools(body: Body, agent: str, tools: Sequence[ToolUse]) -> None:
    if body["type"] != USER:
        return
    for use in tools:
        sums = body.setdefault("tools", {}).setdefault(agent, {}).setdefault(use.tool, {})
        for name, amount in use.amounts.items():
            sums[name] = sums.get(name, 0) + amount


def _add(body: Body, key: str, hold: Body, usage: Usage, micro_usd: int | None) -> None:
    nothing = {"steps": 0, "input_tokens": 0, "output_tokens": 0, "micro_usd": 0, "unpriced": 0, "tasks": 0}
    use = body["use"].setdefault(hold["agent"], {}).setdefault(hold["model"], nothing)
    use["steps"] += 1
    use["input_tokens"] += usage.input_tokens
    use["output_tokens"] += usage.output_tokens
    use["micro_usd"] += micro_usd or 0
    use["unpriced"] += micro_usd is None
    use["tasks"] = use.get("tasks", 0) + key.endswith("/1")


def _spent(body: Body) -> Spent:
    return sum((_held(use) for by in body["use"].values() for use in by.values()), Spent())


def _held(amounts: Body) -> Spent:
    return Spent(amounts["input_tokens"] + amounts["output_tokens"], amounts["micro_usd"] or 0)


def _user_id(day: date, user: str) -> str:
    return f"{day}-{hashlib.sha256(user.encode()).hexdigest()[:32]}"


def _days(first: date, last: date) -> list[date]:
    return [date.fromordinal(day) for day in range(first.toordinal(), last.toordinal() + 1)]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
