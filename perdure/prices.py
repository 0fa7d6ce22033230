"""What models cost: as the settings say, and otherwise as `genai-prices` has it, whose data come with the package."""

import asyncio
from collections.abc import Mapping
from functools import cache

from perdure.domain.budget import FREE, Price
from perdure.settings import Settings

SAMPLE = 1000
"""Tokens a price is asked for: few, for where a longer conversation costs more, the lower price is meant."""


class Prices:
    """Prices of the models at the endpoint that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def of(self, model: str) -> Price | None:
        """Find what a model costs; None when nobody knows."""
        own: Mapping[str, Price] = self._settings.allowances.prices
        if model in own:
            return own[model]
        if not self._settings.has_model:
            return FREE
        at = self._settings
        provider = "azure" if at.azure_openai_endpoint else "openai"
        # In a thread: the first time, a quarter of a second goes into importing all prices.
        return await asyncio.to_thread(_published, model, provider, at.openai_base_url)


@cache
def _published(model: str, provider: str, address: str | None) -> Price | None:
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=SAMPLE, output_tokens=SAMPLE)
    try:
        if address:
            found = calc_price(usage, model, provider_api_url=address)
        else:
            found = calc_price(usage, model, provider_id=provider)
    except LookupError:
        return None
    million = 1_000_000 // SAMPLE
    return Price(found.input_price * million, found.output_price * million)
