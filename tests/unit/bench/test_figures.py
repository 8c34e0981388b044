"""The statistics of the measures, and what they say of a target."""

import msgspec
import pytest
from bench.figures import (
    OURS,
    Goal,
    Row,
    in_figures,
    in_words,
    number,
    percentile,
    ratio,
    spread,
    verdict,
)


def row(ours: float | None, peer: float | None = None, *, unit: str = "jobs/s") -> Row:
    systems = {OURS: ours, "PgQueuer": peer}
    return Row(
        what="drain",
        unit=unit,
        systems={name: spread([value]) for name, value in systems.items() if value is not None},
    )


def test_a_spread_has_the_median_and_the_range_in_whatever_order_the_values_come() -> None:
    found = spread([9.0, 1.0, 4.0])
    assert (found.median, found.least, found.most, found.measured) == (4.0, 1.0, 9.0, 3)
    assert spread([1.0, 2.0]).median == 1.5


@pytest.mark.parametrize(
    ("percent", "value"), [(50, 50), (99, 99), (99.1, 100), (100, 100), (1, 1), (0.1, 1)]
)
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(percent: float, value: float) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == value


def test_a_percentile_of_few_values_is_never_better_than_the_worst_of_them() -> None:
    assert percentile([3.0, 1.0, 2.0], 99) == 3.0
    assert percentile([7.0], 50) == 7.0


@pytest.mark.parametrize(
    ("bound", "ours", "said"),
    [
        ("at least", 1000.0, "reached"),
        ("at least", 999.9, "not"),
        ("at most", 1000.0, "reached"),
        ("at most", 1000.1, "not"),
    ],
)
def test_a_target_that_is_a_number_is_reached_when_our_median_keeps_it(
    bound: str, ours: float, said: str
) -> None:
    goal = Goal(bound="at least" if bound == "at least" else "at most", value=1000)
    assert verdict(row(ours), goal) == said


def test_a_target_that_is_a_peer_is_so_many_times_its_median_in_the_same_run() -> None:
    ten_times = Goal(bound="at least", value=10, peer="PgQueuer")
    assert verdict(row(1000, 100), ten_times) == "reached"
    assert verdict(row(999, 100), ten_times) == "not"
    soon = Goal(bound="at most", value=1.2, peer="PgQueuer")
    assert verdict(row(6.0, 5.0), soon) == "reached"
    assert verdict(row(6.1, 5.0), soon) == "not"


def test_ours_is_told_as_a_multiple_of_the_peer_or_of_the_target() -> None:
    assert ratio(row(50.0, 100.0), "PgQueuer", None) == 0.5
    assert ratio(row(50.0, 100.0), "PgQueuer", 200.0) == 0.5
    assert ratio(row(50.0, 100.0), None, 200.0) == 0.25
    assert ratio(row(50.0), "PgQueuer", None) is None
    assert ratio(row(None, 100.0), "PgQueuer", None) is None
    assert ratio(row(50.0), None, None) is None


def test_without_ours_or_without_the_peer_nobody_can_say_whether_a_target_was_reached() -> None:
    goal = Goal(bound="at least", value=1, peer="PgQueuer")
    assert verdict(row(1e9), goal) == "unknown"
    assert verdict(row(None, 1.0), goal) == "unknown"
    assert verdict(row(None), Goal(bound="at most", value=1)) == "unknown"


def test_a_target_is_told_in_its_unit_or_in_the_peers_name() -> None:
    assert in_words(Goal(bound="at most", value=1.25), "×") == "≤ 1.25 ×"
    assert in_words(Goal(bound="at least", value=1000), "submissions/s") == "≥ 1000 submissions/s"
    assert in_words(Goal(bound="at most", value=1.2, peer="PgQueuer"), "ms") == "≤ 1.2 × PgQueuer"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.012345, "0.0123"),
        (1.005, "1.00"),
        (9.996, "10.0"),
        (99.95, "100"),
        (12.34, "12.3"),
        (1234.5, "1,230"),
        (1234567, "1,230,000"),
        (-4.5678, "-4.57"),
    ],
)
def test_a_number_is_told_by_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_range_is_told_only_where_there_is_one() -> None:
    assert in_figures(spread([2.0])) == "2.00"
    assert in_figures(spread([2.0, 2.0])) == "2.00"
    assert in_figures(spread([3.0, 1.0, 2.0])) == "2.00 (1.00–3.00)"


def test_a_number_near_its_limit_is_told_by_as_many_digits_as_show_the_side_it_is_on() -> None:
    assert number(10.04, [10]) == "10.04"
    assert number(9.9996, [10]) == "9.9996"
    assert number(10.0, [10]) == "10.0"
    assert number(10.2, [10, 97]) == "10.2"
    assert in_figures(spread([10.04, 9.58, 10.5]), [10]) == "10.04 (9.58–10.5)"


def test_the_limits_of_a_row_are_its_targets_and_what_it_is_compared_with_elsewhere() -> None:
    goals = (Goal(bound="at least", value=10, peer="PgQueuer"), Goal(bound="at most", value=7))
    given = msgspec.structs.replace(row(1.0, 3.0), goals=goals, limit=5.0)
    assert given.limits == [30, 7, 5]
    assert row(1.0).limits == []
