"""What fairness is measured on: turns in a time that stands still, each measurement on an empty queue."""

import contextlib
from collections.abc import AsyncIterator, Sequence

import msgspec

from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId
from aifactory.resources.interface import Tier
from aifactory.resources.queries.tick import Claimed
from prove.turns import StillTime, Turns, open_turns

#: In which queue, who is small, who is large.
CASES = (
    ("normal", Tier.STANDARD, Tier.STANDARD),
    ("fast", Tier.STANDARD, Tier.STANDARD),
    ("batch", Tier.STANDARD, Tier.STANDARD),
    ("normal", Tier.BASIC, Tier.ENTERPRISE),
    ("fast", Tier.BASIC, Tier.ENTERPRISE),
)
#: The sizes of jobs that clients have, in turn.
SIZES = ((100,), (100, 150, 200, 250, 300), (20, 40, 80, 160, 320))
_CLEAR = """
TRUNCATE resource_queue, queue_due, client_pool_usage;
DELETE FROM lanes;
UPDATE resource_pools SET start_seq = 0, last_start_seq = 0, recent_starts = '', last_urgent_at = NULL,
    capacity = 1000000000, refill_per_second = 1000000000, level_micro = 1000000000000000, big_job_id = NULL,
    big_job_since = NULL
WHERE pool = 'proof'
"""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How large a measurement is."""

    backlog: int = 100_000  #: jobs of the large client
    own: int = 64  #: jobs of the small one
    cases: tuple[tuple[str, Tier, Tier], ...] = CASES
    clients: int = 20
    sizes: tuple[tuple[int, ...], ...] = SIZES
    starts: int = 4_000
    flooded: int = 20


class Ground:
    """Turns in still time; one measurement after the other, each on an empty queue."""

    def __init__(self, turns: Turns, time: StillTime, terms: Terms) -> None:
        self.turns = turns
        self.time = time
        self.terms = terms

    async def clear(self, *, slots: int = 32) -> None:
        """Empty the queue and forget who used what."""
        async with self.time.lend() as raw:
            await raw.execute(_CLEAR)
        self.turns.engine.lease.slots = slots
        await self.turns.engine.lease.round()

    async def starts(self, count: int) -> list[Claimed]:
        """Go round until so many jobs have started, a second a round; fewer only if there are no more."""
        started: list[Claimed] = []
        while len(started) < count and (more := await self.turns.round()):
            started += more
            self.time.later(1)
        if not started:
            raise RuntimeError("Nothing can start.")
        return started[:count]

    async def clients(self, count: int, tier: Tier = Tier.STANDARD) -> list[ClientId]:
        """Add clients of one tier."""
        return [await self.turns.client(tier) for _ in range(count)]


@contextlib.asynccontextmanager
async def open_ground(database: Database, terms: Terms) -> AsyncIterator[Ground]:
    """Open the ground on a database."""
    time = StillTime(url=database.url)
    try:
        async with open_turns(time) as turns:
            yield Ground(turns, time, terms)
    finally:
        await time.close()


def owners(started: Sequence[Claimed]) -> list[ClientId]:
    """Return whose jobs were started, in order."""
    return [ClientId(one.start.lane.client_id) for one in started]
