"""Budgets of tokens and money: what a call of the model may come to, and how long a reply there is room for.

Money is counted in whole micro-dollars: a dollar a million tokens is one of them a token, and sums of whole numbers do
not drift. A call is counted in every account that pays for it. A task that asks other agents gives each a share of what
it has left, as a budget of its own, and counts what they spent as its own when they have ended.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_CEILING, Decimal

from perdure.domain.messages import Usage

MICRO = 1_000_000

LEAST_REPLY = 256
"""Tokens of a reply that a call is still worth being made for, when a budget is nearly used up."""


class BudgetExceeded(Exception):
    """There is no room for a call, and waiting would not make any. The text says whose budget, and when it renews."""


class BudgetBusy(Exception):
    """There may be room when calls that are being made have come to less than was reserved for them."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens, which is micro-dollars for one."""

    input: Decimal
    output: Decimal

    def of(self, usage: Usage) -> int:
        """What tokens cost, in micro-dollars, rounded up."""
        exact = usage.input_tokens * self.input + usage.output_tokens * self.output
        return int(exact.to_integral_value(ROUND_CEILING))


FREE = Price(Decimal(0), Decimal(0))


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be used: tokens of messages and replies together, and micro-dollars. None for any amount."""

    tokens: int | None = None
    micro_usd: int | None = None

    def __bool__(self) -> bool:
        return self.tokens is not None or self.micro_usd is not None

    def within(self, other: "Budget") -> "Budget":
        """The lower of both."""
        return Budget(_lower(self.tokens, other.tokens), _lower(self.micro_usd, other.micro_usd))

    def share(self, spent: "Spent", parts: int) -> "Budget":
        """One of so many equal parts of what is left."""
        return Budget(_part(self.tokens, spent.tokens, parts), _part(self.micro_usd, spent.micro_usd, parts))


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used, or is reserved."""

    tokens: int = 0
    micro_usd: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.tokens + other.tokens, self.micro_usd + other.micro_usd)

    @classmethod
    def of(cls, usage: Usage, price: Price | None) -> "Spent":
        return cls(usage.input_tokens + usage.output_tokens, price.of(usage) if price else 0)


@dataclass(frozen=True, slots=True)
class Account:
    """A budget, whose it is, as in `Your budget for 2030-01-31`, and when it begins anew; None when it never does."""

    title: str
    budget: Budget
    renews: datetime | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model, before it is made.

    Attributes:
        step: The step it is for; 0 for the summary of the conversation before the task.
        price: None when nobody knows it.
        usage: What it may come to: its messages by estimate, its reply by its bound.
        at: When it was begun. The budgets of that day and month pay, whenever it ends.
    """

    tenant: str
    user: str
    task: str
    step: int
    agent: str
    model: str
    price: Price | None
    usage: Usage
    at: datetime

    @property
    def key(self) -> str:
        """What its reservations are called, whoever attempts it."""
        return f"{self.task}/{self.step}"

    def bounded(self, reply: int) -> "Call":
        """The same with a reply of at most so many tokens."""
        return replace(self, usage=Usage(self.usage.input_tokens, reply))


def room(account: Account, spent: Spent, reserved: Spent, call: Call) -> int:
    """Say how long a reply an account has room for, in tokens: as long as the call wants, or what is left.

    Args:
        spent: What was used of the account.
        reserved: What others have reserved of it.

    Raises:
        BudgetExceeded: What is left is not enough for a reply worth having.
        BudgetBusy: It would be, if there were no reservations of others.
    """
    wanted = call.usage.output_tokens
    least = min(LEAST_REPLY, wanted)
    free, left = (min(wanted, _longest(account.budget, gone, call)) for gone in (spent + reserved, spent))
    if left < least:
        raise BudgetExceeded(_refusal(account, spent, call.bounded(least)))
    if free < left:
        raise BudgetBusy(f"{account.title} is reserved by other calls for now.")
    return free


def _longest(budget: Budget, gone: Spent, call: Call) -> int:
    """The longest reply within what is left of a budget; as long as wanted if nothing bounds it, and below 0 if its
    messages alone are too many."""
    longest = call.usage.output_tokens
    if budget.tokens is not None:
        longest = min(longest, budget.tokens - gone.tokens - call.usage.input_tokens)
    if budget.micro_usd is not None and call.price:
        money = budget.micro_usd - gone.micro_usd - call.price.of(Usage(call.usage.input_tokens))
        if money < 0:
            return -1
        if call.price.output:
            longest = min(longest, int(money / call.price.output))
    return longest


def _refusal(account: Account, spent: Spent, call: Call) -> str:
    needed, budget = Spent.of(call.usage, call.price), account.budget
    if budget.tokens is not None and spent.tokens + needed.tokens > budget.tokens:
        used, most, more = f"{spent.tokens:,}", f"{budget.tokens:,} tokens", f"{needed.tokens:,}"
    else:
        used, most, more = _usd(spent.micro_usd), _usd(budget.micro_usd or 0), _usd(needed.micro_usd)
    renews = f" It renews at {account.renews:%Y-%m-%dT%H:%M}Z." if account.renews else ""
    return f"{account.title} is used up: {used} of {most} are used, and the next step needs {more}.{renews}"


def _usd(micro: int) -> str:
    return f"${Decimal(micro) / MICRO:f}"


def _part(amount: int | None, gone: int, parts: int) -> int | None:
    return None if amount is None else max(amount - gone, 0) // parts


def _lower(one: int | None, other: int | None) -> int | None:
    return min((amount for amount in (one, other) if amount is not None), default=None)
