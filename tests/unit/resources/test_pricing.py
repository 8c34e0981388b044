"""Costs in whole nano-dollars: rounded once, upwards, never above the worst case."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from aifactory.resources.interface import Hop, Line, Route, Usage
from aifactory.resources.pricing import Price, expected_of_line, worst_of_route


def price(input_: int, cached: int, output: int) -> Price:
    return Price(
        input_nano_per_million=input_,
        cached_nano_per_million=cached,
        output_nano_per_million=output,
        source="a test",
        at=datetime(2026, 11, 22, tzinfo=UTC),
    )


def test_cached_units_are_part_of_the_input_and_priced_apart() -> None:
    usage = Usage(input_units=1000, cached_input_units=400, output_units=10)
    assert price(1_000_000, 100_000, 5_000_000).cost_of(usage) == 600 + 40 + 50


def test_a_fraction_of_a_nano_dollar_is_rounded_up_once_for_the_whole_call() -> None:
    assert price(1, 0, 1).cost_of(Usage(input_units=1, output_units=1)) == 1
    assert price(1, 0, 1).cost_of(Usage()) == 0
    assert price(500_000, 0, 500_000).cost_of(Usage(input_units=1, output_units=1)) == 1


def test_more_cached_than_input_units_cost_no_less_than_nothing() -> None:
    assert price(1_000_000, 100_000, 0).cost_of(Usage(input_units=10, cached_input_units=99)) == 1


units, prices = st.integers(0, 10**7), st.integers(0, 10**13)


def test_the_hold_covers_the_dearest_hop_and_the_estimate_the_first() -> None:
    hops = (Hop(provider="p", model="small", pool="a"), Hop(provider="p", model="large", pool="a"))
    listed = {("p", "small"): price(10**6, 0, 10**6), ("p", "large"): price(2 * 10**6, 0, 2 * 10**6)}
    route = Route(hops=hops)
    assert worst_of_route(route, 100, 50, listed) == 300
    line = Line(
        kind="k",
        phase="k",
        count=3,
        route=route,
        input_bound=100,
        output_limit=50,
        expected_input=40,
        expected_output=10,
    )
    assert expected_of_line(line, listed) == 150
