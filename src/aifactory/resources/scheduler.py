"""The scheduler: one tick decides and claims for this process; the policy is in ``policy.Plan``."""

import math
import random
from collections.abc import Mapping
from datetime import datetime, timedelta

import anyio
import asyncpg
import msgspec
import structlog

from aifactory.kernel.db import Database, Tx
from aifactory.resources.gates import Decision, Snapshot
from aifactory.resources.lease import Lease
from aifactory.resources.policy import Plan
from aifactory.resources.queries import snapshot as snapshots
from aifactory.resources.queries import tick as queries
from aifactory.resources.queries import turns
from aifactory.resources.queries.tick import Claimed

log = structlog.get_logger()

REFUSED_TOO_LONG_SECONDS = 6.0
LONGEST_WAIT_SECONDS = 2.0  # long: the server logs each one that is over as an error
LONGEST_DECISION = timedelta(seconds=4)
DEEPER_BY = 15
DEEPER_LOADS = 50
SHORTEST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.25, 2.0
RESTING_POLL_SECONDS = 1.5


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """What one tick did. ``refused``: another process was deciding; ``at_rest``: nothing was to decide."""

    claimed: tuple[Claimed, ...] = ()
    promoted: int = 0
    refused: bool = False
    at_rest: bool = False
    next_wake: datetime | None = None
    now: datetime | None = None

    @property
    def rest_seconds(self) -> float:
        """How long to wait for the next tick if nothing wakes the scheduler."""
        if self.refused:
            return random.uniform(0.005, 0.02)
        shortest = RESTING_POLL_SECONDS if self.at_rest else SHORTEST_POLL_SECONDS
        poll = random.uniform(shortest, LONGEST_POLL_SECONDS)
        if self.next_wake is None or self.now is None:
            return poll
        return min(poll, max(0.001, (self.next_wake - self.now).total_seconds()))


class _Refused(Exception):
    """Another process was deciding all the time."""


class Scheduler:
    """Claims jobs for one process, one transaction a tick; none whose key is not in its ``environ``."""

    def __init__(self, *, database: Database, lease: Lease, environ: Mapping[str, str]) -> None:
        self.database = database
        self.lease = lease
        self.environ = environ
        self.longest_wait_seconds = LONGEST_WAIT_SECONDS
        self._refused_since: float | None = None

    async def tick(self, *, slots: int, local_slots: int, idle: bool) -> Tick:
        """Decide once. Claims at most the free slots given; nothing if this process is fenced."""
        if not self.lease.may_start or slots + local_slots == 0:
            return Tick()
        asked = anyio.current_time()
        try:
            async with self.database.begin() as tx:
                if await queries.begin_tick(tx):
                    await queries.note_tick(tx)
                    done = Tick(at_rest=True, next_wake=await queries.next_due(tx), now=tx.now)
                else:
                    await self._become_decider(tx)
                    done = await self._decide(tx, slots=slots, local_slots=local_slots, idle=idle)
        except _Refused:
            done = Tick(refused=True)
        await self._mind_a_stopped_decider(refused_since=asked if done.refused else None)
        return done

    async def _become_decider(self, tx: Tx) -> None:
        """Take the decider lock, or wait in line for it: deciders take turns, nobody asks all the time."""
        if await queries.try_decider_lock(tx):
            return
        try:
            await turns.wait_for_decider_lock(tx, self.longest_wait_seconds)
        except asyncpg.LockNotAvailableError as error:
            raise _Refused from error
        await tx.read_clock()

    async def _decide(self, tx: Tx, *, slots: int, local_slots: int, idle: bool) -> Tick:
        pools = await queries.lock_pools(tx)
        control = await queries.read_control(tx)
        due, promoted = control.first_due, 0
        if due is not None and due <= tx.now:
            promoted = await queries.promote_due(tx)
            due = await queries.next_due(tx)
        lanes = await snapshots.load_lanes(tx, depth=_depth(slots + local_slots, control.lanes))
        snapshot = await snapshots.load_snapshot(
            tx,
            lanes=lanes,
            pools=pools,
            control=control,
            slots=slots,
            local_slots=local_slots,
            idle=idle,
            environ=self.environ,
        )
        decision = await self._plan(tx, snapshot)
        claimed = await queries.apply(tx, decision, snapshot, process_id=self.lease.process_id)
        wakes = [moment for moment in (decision.next_wake, due) if moment is not None]
        return Tick(claimed=tuple(claimed), promoted=promoted, next_wake=min(wakes, default=None), now=tx.now)

    async def _plan(self, tx: Tx, snapshot: Snapshot) -> Decision:
        """Plan; a lane that runs dry while slots are left is loaded deeper, and the plan goes on.

        After many such loads what has been started stands, and the next tick goes on.
        """
        plan, slots = Plan(snapshot, tx.now), snapshot.slots + snapshot.local_slots
        for _ in range(DEEPER_LOADS):
            dry = plan.advance()
            if not dry:
                break
            known, left = (
                {lane_id: len(plan.lanes[lane_id].heads) for lane_id in dry},
                slots - len(plan.starts),
            )
            depths = {lane_id: heads + min(left, heads) for lane_id, heads in known.items()}
            depths[dry[0]] = known[dry[0]] + min(left, known[dry[0]] * DEEPER_BY)
            plan.deepen(dry, await snapshots.load_lanes(tx, depths=depths))
        return plan.decision()

    async def _mind_a_stopped_decider(self, *, refused_since: float | None) -> None:
        """A process that holds the lock for seconds has stopped in the middle: end its backend."""
        now = anyio.current_time()
        if refused_since is None or self._refused_since is None:
            self._refused_since = refused_since
        elif now - self._refused_since >= REFUSED_TOO_LONG_SECONDS:
            async with self.database.begin() as tx:
                server_now = tx.now - self.database.clock_offset
                ended = await queries.end_decider(tx, server_now - LONGEST_DECISION)
            log.warning("scheduler.decider_ended", backends=ended)
            self._refused_since = None


def _depth(slots: int, lanes: int) -> int:
    """Return how many heads to load of each lane: enough for the slots twice over, one of many lanes."""
    return min(slots, max(1, math.ceil(2 * slots / max(1, lanes))))
