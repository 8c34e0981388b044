"""What the fleet would decide now and from now on, loaded at most once a second, whoever asks."""

import math
import time
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import anyio
import anyio.lowlevel
import msgspec

from aifactory.kernel.db import Database, Tx
from aifactory.resources.gate_words import Fleet
from aifactory.resources.gates import Lane
from aifactory.resources.policy import Plan
from aifactory.resources.queries import fleet_snapshot
from aifactory.resources.queries import snapshot as snapshots
from aifactory.resources.queries.fleet_snapshot import FleetSnapshot
from aifactory.resources.virtual.forecast import Forecast, Habit, Known

FRESH_FOR = timedelta(seconds=1)
HABITS_FRESH_FOR = timedelta(seconds=5)
MOST_HEADS, MOST_COUNTED = 4000, 20_000
DEEPEST, SHALLOWEST = 64, 2
LONGEST_RUN_SECONDS = 0.5  # of CPU
MOST_DUTY = 0.1


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at one moment, the plan that one process with all its slots would make, and what follows."""

    as_of: datetime
    plan: Plan
    fleet: Fleet
    forecast: Forecast

    @property
    def lanes(self) -> Mapping[int, Lane]:
        """Return the loaded lanes by id."""
        return self.plan.lanes


class Outlooks:
    """The outlook that this process shares among all who ask: one load at a time, none while it is fresh.

    A forecast is kept for longer than a plan where it takes long: at most a tenth of a core goes into it.
    """

    def __init__(self, *, database: Database) -> None:
        self.database = database
        self._lock = anyio.Lock()
        self._latest: Outlook | None = None
        self._forecast_for = FRESH_FOR
        self._habits: tuple[datetime, dict[str, Habit]] | None = None

    async def current(self, now: datetime, lane_ids: Collection[int]) -> Outlook:
        """Return an outlook not older than a second that has these lanes, as far as they still exist."""
        async with self._lock:
            known = self._latest
            fresh = known is not None and abs(now - known.as_of) < FRESH_FOR
            if known is None or not fresh or not known.lanes.keys() >= set(lane_ids):
                known = self._latest = await self._look(now, known)
            return known

    async def _look(self, now: datetime, before: Outlook | None) -> Outlook:
        foreseen = None if before is None else before.forecast
        if foreseen is not None and abs(now - foreseen.now) >= self._forecast_for:
            foreseen = None
        loaded, known, as_of = await self._load(whole=foreseen is None)
        plan = Plan(loaded.snapshot, as_of)
        if not loaded.snapshot.enabled:
            plan.set_up()  # a decision leaves it out; what is told needs hops and standings all the same
        plan.decide()
        if known is not None:
            foreseen = await self._foresee(known, as_of)
        assert foreseen is not None
        return Outlook(as_of=as_of, plan=plan, fleet=loaded.fleet, forecast=foreseen)

    async def _foresee(self, known: Known, as_of: datetime) -> Forecast:
        """Run a forecast, with a turn for others between two plans; no transaction is open meanwhile."""
        began = time.perf_counter()
        forecast = Forecast(known, as_of)
        spent = time.perf_counter() - began
        going = known.snapshot.enabled
        while going and spent < LONGEST_RUN_SECONDS:
            await anyio.lowlevel.checkpoint()
            began = time.perf_counter()
            going = forecast.step()
            spent += time.perf_counter() - began
        self._forecast_for = max(FRESH_FOR, timedelta(seconds=spent / MOST_DUTY))
        return forecast

    async def _load(self, *, whole: bool) -> tuple[FleetSnapshot, Known | None, datetime]:
        async with self.database.begin() as tx:
            count = max(1, await fleet_snapshot.count_lanes(tx))
            depth = max(SHALLOWEST, min(DEEPEST, math.ceil(MOST_HEADS / count)))
            loaded = await fleet_snapshot.load_fleet(tx, await snapshots.load_lanes(tx, depth=depth))
            known = await self._known(tx, loaded, count) if whole else None
            return loaded, known, tx.now

    async def _known(self, tx: Tx, loaded: FleetSnapshot, lanes: int) -> Known:
        """Load what a forecast needs beside the gates."""
        runs = await fleet_snapshot.load_runs(tx)
        job_ids = [head.job_id for lane in loaded.snapshot.lanes for head in lane.heads]
        executions, to_come = await fleet_snapshot.jobs_to_come(tx, [*job_ids, *(run.job_id for run in runs)])
        if self._habits is None or abs(tx.now - self._habits[0]) >= HABITS_FRESH_FOR:
            self._habits = tx.now, await fleet_snapshot.load_habits(tx)
        return Known(
            snapshot=loaded.snapshot,
            runs=runs,
            depths=await fleet_snapshot.lane_depths(tx, max(DEEPEST, MOST_COUNTED // lanes)),
            habits=self._habits[1],
            executions=executions,
            to_come=to_come,
        )
