"""Money: integer nano-dollars inside, exact decimal numbers outside. Never a float."""

from decimal import ROUND_UP, Decimal
from typing import NewType

Nano = NewType("Nano", int)

NANO_PER_USD = 1_000_000_000
UNITS_PER_PRICE = 1_000_000


def usd(nano: int) -> Decimal:
    """Return nano-dollars as dollars, exact, without trailing zeros."""
    return Decimal(nano).scaleb(-9).normalize() if nano else Decimal(0)


def nano(dollars: Decimal) -> Nano:
    """Return dollars as nano-dollars; an amount finer than a nano-dollar is rounded away from zero."""
    return Nano(int((dollars * NANO_PER_USD).to_integral_value(rounding=ROUND_UP)))


def cost_of_units(units: int, nano_per_million: int) -> Nano:
    """Return what ``units`` cost at a price in nano-dollars per million units, rounded up once."""
    return Nano(-(-units * nano_per_million // UNITS_PER_PRICE))


def format_usd(nano_dollars: int) -> str:
    """Return an amount for people: ``$0.00004``."""
    sign = "-" if nano_dollars < 0 else ""
    return f"{sign}${abs(usd(nano_dollars)):f}"
