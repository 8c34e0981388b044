"""How long the simulator takes for a million jobs of 50 clients, on the live policy code; no database."""

import gc
import time

from aifactory.resources.simulation.running import described, play
from bench.figures import OURS, Goal, Row, spread
from bench.running import Bench, Measure

MILLION = 10**6
HOURS, QUICK_HOURS = 5.1, 0.255  #: of 198,000 jobs an hour: a little more than a million, than 50,000
WITHIN = Goal(bound="at most", value=60)
WORKLOAD = """
[run]
hours = {hours}
slots = 256

[pools.first]
capacity = 2_000_000
refill_per_second = 200_000

[pools.second]
capacity = 2_000_000
refill_per_second = 60_000

[[clients]]
name = "client"
count = 50
tier = "enterprise"

[[streams]]
arrivals = {{ poisson_per_hour = 360 }}

[[streams.phases]]
hops = ["first"]
jobs = 1

[[streams.phases]]
hops = ["second"]
jobs = 10
output = {{ mean = 500, cv = 0.5 }}
seconds = {{ median = 4, p95 = 11 }}
"""


async def play_ours(*, hours: float) -> dict[str, float]:
    """Play so many hours as ``aifactory simulate`` does; return jobs, seconds, seconds of processor."""
    workload = described(WORKLOAD.format(hours=hours))
    gc.disable()  # as the command does
    began, worked = time.perf_counter(), time.process_time()
    played = play(workload)
    taken = {"seconds": time.perf_counter() - began, "processor": time.process_time() - worked}
    assert not played.unfinished, played.unfinished
    return {"jobs": played.jobs, "executions": played.executions, **taken}


def run(bench: Bench) -> list[Row]:
    """Play the same workload in each round."""
    hours = QUICK_HOURS if bench.quick else HOURS
    runs = [bench.alone("bench.simulate:play_ours", hours=hours) for _ in range(bench.rounds)]
    jobs = f"{runs[0]['jobs']:,.0f} jobs of {runs[0]['executions']:,.0f} executions were played"
    return [
        Row(
            what=f"simulate, 50 clients: {what} for a million jobs",
            unit="s",
            systems={OURS: spread([one[name] * MILLION / one["jobs"] for one in runs])},
            goals=goals,
            note=note,
        )
        for what, name, goals, note in (
            ("time", "seconds", (WITHIN,), jobs),
            ("processor time", "processor", (), ""),
        )
    ]


MEASURE = Measure(name="simulate", shows="the simulator, for a million jobs", run=run)
