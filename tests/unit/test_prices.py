"""What models cost."""

from decimal import Decimal

import pytest

from perdure.allowances import AllowanceError, Allowances
from perdure.domain.budget import FREE, Price
from perdure.prices import Prices
from perdure.settings import Settings

pytestmark = pytest.mark.anyio

MINI = Price(Decimal("0.15"), Decimal("0.6"))


@pytest.mark.parametrize(
    ("settings", "price"),
    [
        (Settings(openai_api_key="k"), MINI),
        (Settings(azure_openai_endpoint="https://x.openai.azure.com"), MINI),
        (Settings(openai_base_url="https://api.openai.com/v1"), MINI),
        # A model of the same name on somebody's own machine has another price, or none.
        (Settings(openai_base_url="http://127.0.0.1:11434/v1"), None),
        (Settings(), FREE),
    ],
)
async def test_a_price_is_that_of_the_endpoint(settings: Settings, price: Price | None) -> None:
    assert await Prices(settings).of("gpt-4o-mini") == price


async def test_a_deployment_of_any_name_has_the_price_that_the_settings_say() -> None:
    said = '{"mine": {"input": 0.1, "output": 3}, "gpt-4o-mini": {"input": 1, "output": 1}}'
    own = Allowances.from_env({"PERDURE_PRICES": said})
    prices = Prices(Settings(azure_openai_endpoint="https://x.openai.azure.com", allowances=own))
    assert await prices.of("mine") == Price(Decimal("0.1"), Decimal(3))
    assert await prices.of("gpt-4o-mini") == Price(Decimal(1), Decimal(1))
    assert await prices.of("nobody-knows-it") is None


@pytest.mark.parametrize(
    "text", ["x", "[]", "3", '{"m": 1}', '{"m": {"input": 1}}', '{"m": {"input": 1, "output": -1}}',
             '{"m": {"input": "NaN", "output": 1}}', '{"m": {"input": 1, "output": 1, "more": 1}}']
)  # fmt: skip
def test_prices_that_are_none_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(AllowanceError, match=r"PERDURE_PRICES .*my-deployment"):
        Allowances.from_env({"PERDURE_PRICES": text})


@pytest.mark.parametrize("text", ["-1", "much", "nan", "1e30"])
def test_a_budget_that_is_none_is_named(text: str) -> None:
    with pytest.raises(AllowanceError, match="PERDURE_BUDGET_USER_DAY_USD"):
        Allowances.from_env({"PERDURE_BUDGET_USER_DAY_USD": text})


def test_budgets_are_read_in_tokens_and_dollars_and_zero_is_none() -> None:
    given = Allowances.from_env({"PERDURE_BUDGET_USER_DAY_USD": "0.5", "PERDURE_BUDGET_TENANT_MONTH_TOKENS": "0"})
    assert (given.user_day.tokens, given.user_day.micro_usd, bool(given.tenant_month)) == (None, 500_000, False)
