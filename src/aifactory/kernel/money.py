"""Money: integer nano-dollars inside, exact decimal numbers outside. Never a float."""

import re
from decimal import ROUND_UP, Decimal
from typing import Any, NewType

from aifactory.kernel.errors import invalid

Nano = NewType("Nano", int)

NANO_PER_USD = 1_000_000_000
UNITS_PER_PRICE = 1_000_000
MOST_BUDGET_USD = Decimal(1_000_000_000)
_SMALLEST_EXPONENT = -12
_MONEY_NAME = re.compile(r"(?:Usd|(?:^|-)usd)(?![a-z])")


def usd(nano: int) -> Decimal:
    """Return nano-dollars as dollars, exact, without trailing zeros."""
    dollars = Decimal(nano).scaleb(-9).normalize()
    return dollars.quantize(Decimal(1)) if dollars == dollars.to_integral_value() else dollars


def nano(dollars: Decimal) -> Nano:
    """Return dollars as nano-dollars; an amount finer than a nano-dollar is rounded away from zero."""
    return Nano(int((dollars * NANO_PER_USD).to_integral_value(rounding=ROUND_UP)))


def exact_nano(pointer: str, usd: Decimal, *, most: Decimal, times: int = 1) -> int:
    """Return dollars, so many times, as nano-dollars. Raises Invalid unless 0 to ``most`` and exact."""
    if not (usd.is_finite() and 0 <= usd <= most):
        raise invalid(pointer, "out_of_range", f"{pointer}: 0 to {most:,} dollars are taken.")
    exponent = usd.as_tuple().exponent
    fine = not isinstance(exponent, int) or exponent < _SMALLEST_EXPONENT
    if fine or usd * times * NANO_PER_USD % 1:
        raise invalid(pointer, "too_precise", f"{pointer}: This is finer than can be counted; round it.")
    return int(usd * times * NANO_PER_USD)


def is_money(name: str) -> bool:
    """Whether a member or a header with this name is an amount or a price: all such names say ``Usd``."""
    return _MONEY_NAME.search(name) is not None


def without_money(decoded: Any) -> Any:
    """Return decoded JSON without the members that are money, at any depth."""
    if isinstance(decoded, dict):
        return {name: without_money(value) for name, value in decoded.items() if not is_money(name)}
    return [without_money(value) for value in decoded] if isinstance(decoded, list) else decoded


def format_usd(nano_dollars: int) -> str:
    """Return an amount for people: ``$0.00004``."""
    sign = "-" if nano_dollars < 0 else ""
    return f"{sign}${abs(usd(nano_dollars)):f}"
