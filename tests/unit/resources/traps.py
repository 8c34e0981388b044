"""Traps whose guards are pure: the policy, the buckets, the prices. See ``tests.traps``."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from tests.traps import Proof, edited, proof, twin
from tests.unit.resources.snapshots import NOW, client, head, hop, lane, pool, snapshot

from aifactory.resources import buckets, scores
from aifactory.resources.admission import Admission
from aifactory.resources.buckets import MICRO
from aifactory.resources.gates import Snapshot
from aifactory.resources.interface import Urgency, Usage
from aifactory.resources.policy import Plan, plan
from aifactory.resources.pool_plan import PoolPlan
from aifactory.resources.pricing import Price

START = datetime(2026, 11, 22, tzinfo=UTC)
PROOFS: list[Proof] = []

# A twin's failure is wanted, so it need not be made small, nor kept.
plain = settings(database=None, phases=(Phase.explicit, Phase.generate))


def started(found: Snapshot) -> list[int]:
    return [start.lane.id for start in plan(found, NOW).starts]


# Gates and order.


def a_capped_client_blocks_nobody_else() -> None:
    lanes = [lane(1, 0, head(1, waited=9000), head(2)), lane(2, 1, head(3))]
    clients = [client(0, "enterprise", max_running=1), client(1, "basic")]
    assert sorted(started(snapshot(*lanes, clients=clients))) == [1, 2], "who is not capped waits"
    clients[0] = client(0, "enterprise", max_running=1, running=1)
    assert started(snapshot(*lanes, clients=clients)) == [2], "who is not capped waits"


PROOFS.append(
    proof(
        3,
        a_capped_client_blocks_nobody_else,
        twin(
            "the cap is checked at the head of the queue, not of the lane",
            "who is not capped waits",
            edited(
                Plan._best,
                "self.closed[lane_id] = wait\n            heapq.heappop(heap)\n            continue",
                "return None",
            ),
        ),
    )
)


def a_job_without_units_takes_no_slot() -> None:
    lanes = [
        lane(1, 0, head(1, waited=9000), hops=(hop("dry"),)),
        lane(2, 1, head(2), hops=(hop("full"),)),
    ]
    pools = [pool("dry", level_micro=0), pool("full")]
    assert started(snapshot(*lanes, pools=pools, slots=1)) == [2], "a job without units has the slot"


PROOFS.append(
    proof(
        4,
        a_job_without_units_takes_no_slot,
        twin(
            "a head takes its slot before it looks for units",
            "a job without units has the slot",
            edited(
                Admission.blocked,
                "    return self.over_quota(",
                "    self.slots[lane.local] -= 1\n    return self.over_quota(",
            ),
        ),
    )
)


def a_denied_job_charges_nothing() -> None:
    greedy = lane(1, 0, head(1, units=600, waited=9000, needs={"b": 1}), further_pools=("b",))
    modest = lane(2, 1, head(2, units=1000))
    pools = [pool("a", level_micro=1000 * MICRO), pool("b", level_micro=0)]
    assert started(snapshot(greedy, modest, pools=pools)) == [2], "the denied job was charged"
    large = lane(3, 0, head(3, units=1001, waited=9000))
    assert started(snapshot(large, modest, pools=pools)) == [2], "the bucket is empty after a denial"


PROOFS.append(
    proof(
        17,
        a_denied_job_charges_nothing,
        twin(
            "the first pool is charged before the second is asked",
            "the denied job was charged",
            edited(
                Admission._lacks_units,
                "    for name in draws:\n",
                "        self.pools[name].level_micro -= units * 10**6\n    for name in draws:\n",
            ),
        ),
        twin(
            "a denial empties the bucket",
            "the bucket is empty after a denial",
            edited(
                PoolPlan.lacks,
                "return units > 0 and self.level_micro - self.floor_micro(urgency) < units * buckets.MICRO",
                "lacks = self.level_micro < units * buckets.MICRO\n"
                "    self.level_micro = 0 if lacks else self.level_micro\n"
                "    return lacks",
            ),
        ),
    )
)


def the_starts_of_one_plan_count_at_once() -> None:
    burst = lane(1, 0, *(head(number, units=300) for number in range(1, 9)))
    clients = [client(0, max_running=5)]
    few = snapshot(burst, pools=[pool(level_micro=1000 * MICRO)], clients=clients)
    assert len(started(few)) == 3, "a burst beyond the units"
    assert len(started(snapshot(burst, clients=clients))) == 5, "a burst beyond the cap"


PROOFS.append(
    proof(
        11,
        the_starts_of_one_plan_count_at_once,
        twin(
            "units are charged when a call has ended",
            "a burst beyond the units",
            edited(PoolPlan.take, "self.level_micro -= units * buckets.MICRO", "pass"),
        ),
        twin(
            "running jobs are counted once a plan",
            "a burst beyond the cap",
            edited(Admission.take, "self.client_running[lane.client_id] += 1", "pass"),
        ),
    )
)


def waiting_lifts_a_job_over_a_higher_tier() -> None:
    def order(waited: float) -> list[int]:
        old = lane(1, 0, head(1, waited=waited), queue="immediate", urgency=Urgency.URGENT)
        new = lane(2, 1, head(2), queue="immediate", urgency=Urgency.URGENT)
        return started(snapshot(old, new, clients=[client(0, "standard"), client(1, "premium")]))

    assert order(waited=14) == [2, 1]
    assert order(waited=16) == [1, 2], "waiting lifted nothing"


PROOFS.append(
    proof(
        13,
        waiting_lifts_a_job_over_a_higher_tier,
        twin(
            "the queue's time to full age is read and nothing is done with it",
            "waiting lifted nothing",
            edited(scores.waiting_points, "points = ", "points = 0 * "),
        ),
        twin(
            "waiting counts a thousandth of what is configured",
            "waiting lifted nothing",
            edited(scores.waiting_points, " * waited", " * waited / 1000"),
        ),
    )
)


# Refills.

gaps = st.lists(st.integers(0, 10**7), max_size=30)


@plain
@example([5000] * 200, 1)
@given(gaps, st.integers(0, 10**6))
def refilling_in_many_steps_is_refilling_in_one(steps: list[int], rate: int) -> None:
    level, now = 0, START
    for step in steps:
        later = now + timedelta(microseconds=step)
        level = buckets.refilled(level, capacity=10**15, refill_per_second=rate, since=now, now=later)
        now = later
    at_once = buckets.refilled(0, capacity=10**15, refill_per_second=rate, since=START, now=now)
    assert level == at_once, "units were lost between looks"


@plain
@example([5000] * 200, 1)
@given(gaps, st.integers(1, 5000))
def request_slots_lose_no_fraction_however_often_they_are_looked_at(steps: list[int], rate: int) -> None:
    level, now = 0, START
    for step in steps:
        later = now + timedelta(microseconds=step)
        level = buckets.refilled_requests(level, per_minute=rate, since=now, now=later)
        now = later
    at_once = buckets.refilled_requests(0, per_minute=rate, since=START, now=now)
    assert level == at_once, "request slots were lost between looks"


PROOFS.append(
    proof(
        18,
        refilling_in_many_steps_is_refilling_in_one,
        twin(
            "a refill is rounded to whole units",
            "units were lost between looks",
            edited(
                buckets.refilled,
                "refill_per_second * elapsed)",
                "refill_per_second * elapsed // MICRO * MICRO)",
            ),
        ),
    )
)
PROOFS.append(
    proof(
        18,
        request_slots_lose_no_fraction_however_often_they_are_looked_at,
        twin(
            "request slots are counted from the last look, not from one fixed moment",
            "request slots were lost between looks",
            edited(
                buckets.refilled_requests,
                "_requests_by(now, per_minute) - _requests_by(since, per_minute)",
                "per_minute * ((now - since) // _MICROSECOND) // 60",
            ),
        ),
    )
)


# Money.


def price(input_: int, cached: int, output: int) -> Price:
    return Price(
        input_nano_per_million=input_,
        cached_nano_per_million=cached,
        output_nano_per_million=output,
        source="a test",
        at=START,
    )


units, prices = st.integers(0, 10**7), st.integers(0, 10**13)


@plain
@example(10**7 - 1, 7, 10**7 - 3, 10**13 - 1, 1, 10**13 - 7)
@example(1, 0, 1, 1, 0, 1)
@given(units, units, units, prices, prices, prices)
def a_call_within_its_bounds_never_costs_more_than_its_hold(
    input_: int, cached: int, output: int, a: int, b: int, c: int
) -> None:
    usage = Usage(input_units=input_, cached_input_units=min(cached, input_), output_units=output)
    cost = price(a, b, c).cost_of(usage)
    hit = usage.cached_input_units
    exact = Fraction((input_ - hit) * a + hit * b + output * c, 10**6)
    assert isinstance(cost, int), "money is no whole number"
    assert exact <= cost < exact + 1, "money is not exact"
    assert 0 <= cost <= price(a, b, c).worst(input_, output), "a call costs more than its hold"


PROOFS.append(
    proof(
        20,
        a_call_within_its_bounds_never_costs_more_than_its_hold,
        twin(
            "the hold is for the input at its usual price",
            "a call costs more than its hold",
            edited(
                Price.worst,
                "max(self.input_nano_per_million, self.cached_nano_per_million)",
                "self.input_nano_per_million",
            ),
        ),
        twin(
            "the hold is rounded down",
            "a call costs more than its hold",
            edited(Price.worst, "Nano(-(-total // UNITS_PER_PRICE))", "Nano(total // UNITS_PER_PRICE)"),
        ),
    )
)
PROOFS.append(
    proof(
        21,
        a_call_within_its_bounds_never_costs_more_than_its_hold,
        twin(
            "a cost is a float",
            "money is no whole number",
            edited(Price.cost_of, "Nano(-(-total // UNITS_PER_PRICE))", "Nano(total / UNITS_PER_PRICE)"),
        ),
        twin(
            "a cost was a float before it was rounded",
            "money is not exact",
            edited(
                Price.cost_of,
                "Nano(-(-total // UNITS_PER_PRICE))",
                "Nano(-int(-total / UNITS_PER_PRICE // 1))",
            ),
        ),
    )
)
