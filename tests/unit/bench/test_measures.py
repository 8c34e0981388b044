"""What measures make of what they saw: the use of a bucket, a best rate, the growth of a claim."""

from datetime import UTC, datetime, timedelta

import pytest
from bench import claim, drain, hot
from bench.buckets import REFILL, USED, Stock, used_percent
from bench.figures import OURS, verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = 10
ALL = SECONDS * REFILL // USED  #: starts that use just what flows in


@pytest.mark.parametrize(
    ("starts", "before", "after", "percent"),
    [
        (ALL, 1000, 1000, 100),
        (ALL * 9 // 10, 1000, 1000, 90),
        (ALL * 9 // 10, 1000, 1000 + SECONDS * REFILL / 10, 90),
        (ALL, SECONDS * REFILL / 10, 0, 90),
    ],
)
def test_what_a_bucket_had_before_is_not_counted_as_used_of_what_flowed_in(
    starts: int, before: float, after: float, percent: float
) -> None:
    first = Stock(at=NOW, starts=5, units=before)
    last = Stock(at=NOW + timedelta(seconds=SECONDS), starts=5 + starts, units=after)
    assert used_percent(first, last) == pytest.approx(percent)


def tried(rate: float, p99: float) -> dict[str, float]:
    return {"per_second": rate, "p50_ms": 1.0, "p99_ms": p99, "refused": 0}


def test_the_best_rate_is_taken_in_each_round_from_what_kept_the_limit_there() -> None:
    few, many = [tried(800, 4), tried(900, 10)], [tried(1500, 9), tried(1600, 10.1)]
    within, whatever = hot._best([few, many], note="")
    assert (within.systems[OURS].least, within.systems[OURS].most) == (900, 1500)
    assert (whatever.systems[OURS].least, whatever.systems[OURS].most) == (1500, 1600)
    assert [verdict(within, goal) for goal in within.goals] == ["reached"]
    assert hot._found_with({1: few, 16: many}) == "16 at once"


def test_no_rate_counts_where_every_p99_is_above_the_limit() -> None:
    runs = [tried(2000, 10.5)]
    within, _ = hot._best([runs], note="")
    assert within.systems[OURS].median == 0
    assert [verdict(within, goal) for goal in within.goals] == ["not"]
    assert hot._found_with({4: runs}).startswith("0: ")


def test_a_claim_of_the_longest_queue_is_compared_with_the_shortest_in_time_and_in_buffers() -> None:
    low = {"ms": [[4.0], [4.0], [5.0]], "buffers": [100.0, 100.0, 110.0]}
    high = {"ms": [[4.0], [6.0], [8.0]], "buffers": [120.0, 120.0, 120.0]}
    of_time, of_buffers = claim._growth({(1000, 30): low, (10**6, 30): high}, 1000, 10**6, 30)
    found = of_time.systems[OURS]
    assert (found.least, found.median, found.most) == (1.0, 1.5, 2.0)
    assert [verdict(of_time, goal) for goal in of_time.goals] == ["not"]
    assert of_buffers.systems[OURS].median == pytest.approx(1.2)
    assert [verdict(of_buffers, goal) for goal in of_buffers.goals] == ["reached"]
    assert "1,000,000 queued against 1,000, 30 clients" in of_time.what


def test_ticks_of_all_series_claim_at_most_a_fifth_of_the_smallest_queue() -> None:
    assert (claim.WARM + claim.SERIES * claim.TIMES) * claim.BATCH <= 1_000 // 5


class OnePeer:
    """Stands for the run: notes what is asked of a peer, which takes 4 s for its last call."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, int]]] = []

    def peer(self, name: str, *calls: tuple[str, dict[str, int]], settings: object) -> list[float | None]:
        self.asked += calls
        return [*[None for _ in calls[:-1]], 4.0]


def test_a_peers_rate_is_of_the_jobs_that_were_queued_and_had_to_be_drained() -> None:
    bench = OnePeer()
    assert drain._drain_peer(bench, "PgQueuer", {"batch": 500}, 2000) == 500.0  # type: ignore[arg-type]
    assert bench.asked[-2:] == [("depth", {"n": 2000}), ("drain", {"expected": 2000})]
    warm, drained = bench.asked[:2]
    assert warm[1]["n"] == drained[1]["expected"] == 500
