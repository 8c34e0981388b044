"""Prices looked up in ``genai-prices``, the only place that imports it: exact, found once a model."""

import functools
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from aifactory.kernel.clock import utc_now
from aifactory.kernel.money import nano
from aifactory.resources.providers import ModelPrice


@functools.lru_cache(1024)
def find_price(provider: str, model: str, base_url: str | None = None) -> ModelPrice | None:
    """Return a model's price by its provider's address, else by its provider's name; None if unknown.

    The first call imports the package and its list, about a second: call it in a thread.
    """
    prices = _look_up(model, None, base_url) if base_url else None
    prices = prices or _look_up(model, provider, None)
    if prices is None or prices.input_mtok is None or prices.output_mtok is None:
        return None
    dearest_input = _dearest(prices.input_mtok)
    cached = getattr(prices, "cache_read_mtok", None)
    return ModelPrice(
        input_nano=dearest_input,
        cached_nano=dearest_input if cached is None else _dearest(cached),
        output_nano=_dearest(prices.output_mtok),
        source=f"genai-prices {version('genai-prices')}",
    )


def _look_up(model: str, provider: str | None, base_url: str | None) -> Any:
    from genai_prices.data_snapshot import get_snapshot  # slow to import, and not needed without a provider

    try:
        _, found = get_snapshot().find_provider_model(model, None, provider, base_url)
    except LookupError:
        return None
    return found.get_prices(utc_now())


def _dearest(price: Any) -> int:
    """Return a price per million; of several tiers the dearest, because a hold must never be too small."""
    if isinstance(price, Decimal):
        return nano(price)
    return nano(max(price.base, *(tier.price for tier in price.tiers)))
