from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifactory.kernel.money import format_usd, is_money, nano, usd, without_money

AMOUNTS = st.integers(-(10**18), 10**18)


@given(AMOUNTS)
def test_dollars_are_exact_there_and_back(amount: int) -> None:
    assert nano(usd(amount)) == amount


@given(AMOUNTS)
def test_dollars_leave_as_a_json_number_that_reads_back_exactly(amount: int) -> None:
    sent = msgspec.json.Encoder(decimal_format="number").encode(usd(amount))
    assert msgspec.json.decode(sent, type=Decimal) == usd(amount)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (100 * 10**9, "100"),
        (1_500_000_000, "1.5"),
        (285_790, "0.00028579"),
        (1_000_000_000_000, "1000"),
    ],
)
def test_whole_dollars_have_no_exponent_and_no_trailing_zeros(amount: int, text: str) -> None:
    assert msgspec.json.Encoder(decimal_format="number").encode(usd(amount)).decode() == text


def test_amounts_for_people_have_a_sign_and_all_their_digits() -> None:
    assert format_usd(-1) == "-$0.000000001"
    assert format_usd(1_234_500_000) == "$1.2345"


def test_money_is_known_by_its_name_wherever_it_is() -> None:
    for name in ("costUsd", "priceUsdPerThousand", "X-Cost-Usd", "x-cost-usd", "usd"):
        assert is_money(name), name
    for name in ("score", "usdollar", "Usdan", "causedBy", "refusedAt"):
        assert not is_money(name), name
    seen = {"data": [{"id": "x", "costUsd": 1, "limits": {"monthlyBudgetUsd": None, "maxRunning": 2}}]}
    assert without_money(seen) == {"data": [{"id": "x", "limits": {"maxRunning": 2}}]}
