"""What the fleet would decide now and from now on: loaded, planned and foreseen once for all who ask."""

import math
import time
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta

import anyio
import anyio.to_thread
import msgspec

from aifactory.kernel.db import Database, Tx
from aifactory.resources.foresight import Outlook, foreseen, planned
from aifactory.resources.queries import fleet_snapshot
from aifactory.resources.queries import snapshot as snapshots
from aifactory.resources.queries.fleet_snapshot import FleetSnapshot
from aifactory.resources.virtual.coming import Coming
from aifactory.resources.virtual.foreseen import Foreseen
from aifactory.resources.virtual.habits import Habit
from aifactory.resources.virtual.known import Known

FRESH_FOR = timedelta(seconds=1)
LONGEST_FRESH = timedelta(seconds=60)  #: so that one look that hung is not what is told for ever
HABITS_FRESH_FOR = timedelta(seconds=2.5)
MOST_HEADS, MOST_COUNTED = 4000, 20_000
DEEPEST, SHALLOWEST = 64, 2
SOONER = 0.4  #: of its time
MOST_DUTY = 0.1  #: of a core, for each of plans and forecasts: of looks of up to six seconds


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What an outlook is made of; ``known`` where the forecast is to be made again; the seconds of each."""

    snapshot: FleetSnapshot
    known: Known | None
    as_of: datetime
    seconds: float
    known_seconds: float


class Outlooks:
    """The outlook that this process shares among all who ask.

    One is loaded at a time, and the next a second after it at the soonest, or ten times what it took; who
    asks meanwhile is answered from the one that is there. Plans and forecasts are made in a thread: the loop
    that starts work runs on. A forecast is kept for longer than a plan where it takes longer.
    """

    def __init__(
        self, *, database: Database, sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    ) -> None:
        self.database = database
        self._sleep = sleep
        self._lock = anyio.Lock()
        self._latest: Outlook | None = None
        self._fresh_for = self._forecast_for = FRESH_FOR
        self._habits: tuple[datetime, dict[str, Habit], list[Coming]] | None = None

    @property
    def latest(self) -> Outlook | None:
        """Return the outlook that was made last, however old."""
        return self._latest

    async def current(self, now: datetime, lane_ids: Collection[int]) -> Outlook:
        """Return an outlook for who has read these lanes by ``now``.

        It is fresh, or the one before while another caller renews that. A lane is missing from it that is
        gone since, or came a moment ago where a fleet is too large to be looked at again within a second.
        """
        known = self._latest
        if known is not None and self._serves(known, now, lane_ids):
            return known
        async with self._lock:
            known = self._latest
            if known is not None and self._serves(known, now, lane_ids, alone=True):
                return known
            early = timedelta(0) if known is None else known.as_of + self._fresh_for - now
            if known is not None and early > FRESH_FOR:
                return known
            await self._sleep(max(0.0, early.total_seconds()))
            known = self._latest = await self._look(now, known, lane_ids)
            return known

    def _serves(
        self, known: Outlook, now: datetime, lane_ids: Collection[int], *, alone: bool = False
    ) -> bool:
        """Whether an outlook answers; ``alone``: nobody else renews it."""
        age = now - known.as_of
        if age <= timedelta(0):
            return True  # a lane that it has not is gone
        renewed = not alone and self._lock.locked() and age < 2 * self._fresh_for
        return (age < self._fresh_for or renewed) and all(
            one in known.lanes and (known.forecast.knows(one) or self._sooner > FRESH_FOR) for one in lane_ids
        )

    @property
    def _sooner(self) -> timedelta:
        """After how long a forecast is made again for a lane that it doesn't know."""
        return SOONER * self._forecast_for

    def _kept(self, now: datetime, before: Outlook | None, lane_ids: Collection[int]) -> Foreseen | None:
        """Return the forecast before, unless it is too old for these lanes."""
        if before is None:
            return None
        found = before.forecast
        known = all(found.knows(one) for one in lane_ids)
        return found if now - found.now < (self._forecast_for if known else self._sooner) else None

    async def _look(self, now: datetime, before: Outlook | None, lane_ids: Collection[int]) -> Outlook:
        kept = self._kept(now, before, lane_ids)
        loaded = await self._load(whole=kept is None)
        found = loaded.snapshot
        plan, spent = await anyio.to_thread.run_sync(planned, found.snapshot, loaded.as_of)
        self._fresh_for = _kept_for(loaded.seconds + spent)
        if loaded.known is not None:
            kept, spent = await anyio.to_thread.run_sync(foreseen, loaded.known, loaded.as_of)
            self._forecast_for = _kept_for(loaded.known_seconds + spent)
        assert kept is not None
        return Outlook(as_of=loaded.as_of, plan=plan, fleet=found.fleet, forecast=kept)

    async def _load(self, *, whole: bool) -> Loaded:
        began = time.perf_counter()
        async with self.database.begin() as tx:
            count = max(1, await fleet_snapshot.count_lanes(tx))
            depth = max(SHALLOWEST, min(DEEPEST, math.ceil(MOST_HEADS / count)))
            loaded = await fleet_snapshot.load_fleet(tx, await snapshots.load_lanes(tx, depth=depth))
            loaded_at = time.perf_counter()
            known = await self._known(tx, loaded, count) if whole else None
            return Loaded(
                snapshot=loaded,
                known=known,
                as_of=tx.now,
                seconds=loaded_at - began,
                known_seconds=time.perf_counter() - loaded_at,
            )

    async def _known(self, tx: Tx, loaded: FleetSnapshot, lanes: int) -> Known:
        """Load what a forecast needs beside the gates."""
        runs = await fleet_snapshot.load_runs(tx)
        job_ids = [head.job_id for lane in loaded.snapshot.lanes for head in lane.heads]
        executions, to_come = await fleet_snapshot.jobs_to_come(tx, [*job_ids, *(run.job_id for run in runs)])
        if not self._habits or not self._habits[1] or tx.now - self._habits[0] >= HABITS_FRESH_FOR:
            habits, coming = await fleet_snapshot.load_habits(tx), await fleet_snapshot.load_coming(tx)
            self._habits = tx.now, habits, coming
        counted = max(DEEPEST, MOST_COUNTED // lanes)
        return Known(
            snapshot=loaded.snapshot,
            runs=runs,
            depths=await fleet_snapshot.lane_depths(tx, counted),
            counted=counted,
            habits=self._habits[1],
            coming=self._habits[2],
            executions=executions,
            to_come=to_come,
        )


def _kept_for(seconds: float) -> timedelta:
    """Return how long what took so long is kept: ten times that, from a second to a minute."""
    return min(LONGEST_FRESH, max(FRESH_FOR, timedelta(seconds=seconds / MOST_DUTY)))
