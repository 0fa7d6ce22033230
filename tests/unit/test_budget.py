"""Whether a budget has room for a call, and how long a reply it pays."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.domain.budget import (
    FREE,
    LEAST_REPLY,
    Account,
    Budget,
    BudgetBusy,
    BudgetExceeded,
    Call,
    Price,
    Spent,
    room,
)
from perdure.domain.messages import Usage

NOW = datetime(2030, 1, 31, 23, 59, tzinfo=UTC)
PRICE = Price(Decimal("0.25"), Decimal("2"))
NOTHING = Spent()


def call(input: int, output: int, price: Price | None = PRICE) -> Call:
    return Call("t", "u", "task", 1, "a", "m", price, Usage(input, output), NOW)


def account(tokens: int | None = None, micro_usd: int | None = None, renews: datetime | None = None) -> Account:
    return Account("Your budget", Budget(tokens, micro_usd), renews)


def test_tokens_cost_what_their_price_says_and_no_fraction_is_given_away() -> None:
    assert PRICE.of(Usage(1_000_000, 1_000_000)) == 2_250_000
    assert PRICE.of(Usage(1, 0)) == 1
    assert PRICE.of(Usage(4, 1)) == 3
    assert FREE.of(Usage(10**9, 10**9)) == 0


def test_the_lower_of_two_budgets_counts() -> None:
    assert Budget(5, None).within(Budget(7, 3)) == Budget(5, 3)
    assert Budget().within(Budget()) == Budget()
    assert not Budget()
    assert Budget(0)


@pytest.mark.parametrize(
    ("budget", "spent", "longest"),
    [
        (account(), Spent(10**9, 10**9), 4096),
        (account(tokens=5096), NOTHING, 4096),
        (account(tokens=5096), Spent(96), 4000),
        (account(tokens=1000 + LEAST_REPLY), NOTHING, LEAST_REPLY),
        # 1,000 tokens in are 250 micro-dollars, and each token out is 2.
        (account(micro_usd=8442), NOTHING, 4096),
        (account(micro_usd=8441), NOTHING, 4095),
        (account(tokens=2000, micro_usd=10**9), NOTHING, 1000),
        (account(tokens=10**9, micro_usd=2250), NOTHING, 1000),
    ],
)
def test_a_reply_may_be_as_long_as_what_is_left_pays(budget: Account, spent: Spent, longest: int) -> None:
    assert room(budget, spent, NOTHING, call(1000, 4096)) == longest


@pytest.mark.parametrize(
    ("budget", "spent", "said"),
    [
        (account(tokens=1000), NOTHING, "0 of 1,000 tokens are used, and the next step needs 1,256."),
        (account(tokens=9000), Spent(8900), "8,900 of 9,000 tokens are used, and the next step needs 1,256."),
        (account(micro_usd=761), NOTHING, "$0 of $0.000761 are used, and the next step needs $0.000762."),
        (account(micro_usd=100), Spent(5, 90), r"$0.00009 of $0.0001 are used"),
        (account(tokens=1, renews=NOW), NOTHING, "It renews at 2030-01-31T23:59Z."),
    ],
)
def test_a_budget_without_room_says_what_was_used_and_when_it_renews(budget: Account, spent: Spent, said: str) -> None:
    with pytest.raises(BudgetExceeded) as refused:
        room(budget, spent, NOTHING, call(1000, 4096))
    assert str(refused.value).startswith("Your budget is used up: ")
    assert said in str(refused.value)


def test_a_call_that_wants_little_is_paid_to_the_last_token() -> None:
    assert room(account(tokens=1010), NOTHING, NOTHING, call(1000, 10)) == 10


def test_what_others_reserved_is_waited_for_and_not_what_they_used() -> None:
    with pytest.raises(BudgetBusy):
        room(account(tokens=6000), NOTHING, Spent(2000), call(1000, 4096))
    with pytest.raises(BudgetExceeded):
        room(account(tokens=6000), Spent(5000), Spent(500), call(1000, 4096))
    assert room(account(tokens=8000), NOTHING, Spent(2000), call(1000, 4096)) == 4096


def test_without_a_price_only_tokens_count() -> None:
    assert room(account(micro_usd=1), NOTHING, NOTHING, call(1000, 4096, None)) == 4096
    assert room(account(micro_usd=1), NOTHING, NOTHING, call(1000, 4096, FREE)) == 4096


amounts = st.integers(0, 10**6)


@given(amounts, amounts, amounts, amounts, st.integers(1, 10**5), st.integers(1, 10**5))
def test_no_call_is_let_through_that_could_exceed_a_budget(
    tokens: int, micro_usd: int, spent: int, reserved: int, input: int, output: int
) -> None:
    asked = call(input, output)
    try:
        longest = room(account(tokens, micro_usd), Spent(spent, spent // 2), Spent(reserved, reserved // 2), asked)
    except (BudgetExceeded, BudgetBusy):
        return
    after = Spent(spent, spent // 2) + Spent(reserved, reserved // 2) + Spent.of(Usage(input, longest), PRICE)
    assert 0 < longest <= output
    assert (after.tokens <= tokens, after.micro_usd <= micro_usd) == (True, True)
