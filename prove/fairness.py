"""Who gets how much, measured: the live scheduler and its database, in a time that moves by a second a round.

Every job ends in the round in which it began and uses what was estimated. Waits are counted in starts of the
pool, so that they do not depend on how fast a machine is; where a wait is in seconds, the refill decides.
"""

import argparse
import itertools
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId
from aifactory.resources import buckets
from aifactory.resources.interface import Tier, Urgency
from aifactory.resources.policy import GUARD_EVERY
from aifactory.resources.pool_plan import RECENT_STARTS
from prove import filling
from prove.databases import Databases
from prove.fairness_ground import Ground, Terms, open_ground, owners
from prove.reporting import Proof, Proven, as_table
from prove.sized_worker import HOP

LEAST_JAIN = 0.99
MOST_UNEVEN = 3  #: sizes of jobs for which that is promised: the guard gives starts, not units
MOST_WAIT = 2.0  #: of a small client, compared with alone
MOST_OFF = 0.02  #: of a share
POLICY_OF = {"fast": "score", "normal": "fair", "batch": "fair"}
_URGENCY_OF = {"fast": Urgency.HIGH, "normal": Urgency.NORMAL, "batch": Urgency.LOW}
_PARTS = itertools.count(1)  # so that the ids of copies are new


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table of the report, its first row the head, and what it should not say."""

    title: str
    rows: list[tuple[object, ...]]
    broken: tuple[str, ...] = ()


async def run(database: Database, terms: Terms) -> list[Table]:
    """Measure everything."""
    async with open_ground(database, terms) as ground:
        return [
            await small_behind_large(ground),
            await equal_clients(ground),
            await weights_of_tiers(ground),
            await bound_of_guard(ground),
            await shares_of_queues(ground),
            await recall_of_reserve(ground),
        ]


def jain(amounts: Sequence[float]) -> float:
    """Return Jain's index of fairness: 1 when all amounts are equal, 1/n when one has everything."""
    squares = sum(one * one for one in amounts)
    return sum(amounts) ** 2 / (len(amounts) * squares) if squares else 0.0


# A small client behind a large one.


async def small_behind_large(ground: Ground) -> Table:
    """Compare when a small client's jobs start alone and behind the backlog of another."""
    rows: list[tuple[object, ...]] = [
        ("queue, policy", "tiers", "alone: last start", "behind: first", "behind: last", "times")
    ]
    broken = []
    for queue, small, large in ground.terms.cases:
        alone, first, last = await _behind(ground, queue, small, large)
        policy, times = POLICY_OF[queue], last / alone
        rows.append((f"{queue}, {policy}", f"{small} behind {large}", alone, first, last, f"{times:.2f}"))
        if policy == "fair" and small is large and times > MOST_WAIT:
            broken.append(
                f"A small client waits {times:.2f} times as long in {queue}, at most {MOST_WAIT:g}."
            )
        if first > 2 * GUARD_EVERY:
            broken.append(f"A small client's first start came after {first} of 2 clients.")
    title = f"{ground.terms.own} jobs of one client behind {ground.terms.backlog:,} of another, in starts"
    return Table(title=title, rows=rows, broken=tuple(broken))


async def _behind(ground: Ground, queue: str, small: Tier, large: Tier) -> tuple[int, int, int]:
    """Return at which start of the pool a small client's last job began alone; its first and last behind."""
    own, urgency = ground.terms.own, _URGENCY_OF[queue]
    await ground.clear()
    alone = await ground.turns.client(small)
    await ground.turns.submit(alone, jobs=own, urgency=urgency)
    without = len(await ground.starts(own))
    await ground.clear()
    flood, client = await ground.turns.client(large), await ground.turns.client(small)
    submitted = await ground.turns.submit(flood, jobs=100, urgency=urgency)
    copies = ground.terms.backlog // 100 - 1
    await filling.copy_queued(ground.time, [submitted.execution_id], copies, part=next(_PARTS))
    await ground.starts(ground.terms.own)
    ground.time.later(3600)
    await ground.turns.submit(client, jobs=own, urgency=urgency)
    begun: list[ClientId] = []
    while begun.count(client) < own:
        begun += owners(await ground.starts(ground.turns.engine.lease.slots))
    places = [place for place, one in enumerate(begun, 1) if one == client]
    return without, places[0], places[-1]


# Clients with the same rights.


async def equal_clients(ground: Ground) -> Table:
    """Give clients of one tier unequal backlogs, and jobs of unequal sizes; see who got how many units."""
    rows: list[tuple[object, ...]] = [("clients", "backlogs", "units of a job", "starts", "Jain's index")]
    broken = []
    count = ground.terms.clients
    each = ground.terms.starts // count
    for pattern in ground.terms.sizes:
        sizes = [pattern[number % len(pattern)] for number in range(count)]
        words = f"{min(sizes)} to {max(sizes)}" if len(pattern) > 1 else f"{sizes[0]}"
        backlogs = [each * (2 + number % 7) * 100 // sizes[number] + 1 for number in range(count)]
        served = await _served(ground, sizes, backlogs, each * count)
        index = jain([float(one) for one in served])
        rows.append((count, f"{min(backlogs)} to {max(backlogs)}", words, each * count, f"{index:.4f}"))
        if index < LEAST_JAIN and max(sizes) <= MOST_UNEVEN * min(sizes):
            broken.append(f"Jain's index of jobs of {words} units is {index:.4f}, at least {LEAST_JAIN}.")
    return Table(title="Equal clients, unequal backlogs, in a fair queue", rows=rows, broken=tuple(broken))


async def _served(ground: Ground, sizes: list[int], backlogs: list[int], starts: int) -> list[int]:
    """Return the units that each client was served in so many starts, while nobody's backlog ran dry."""
    await ground.clear()
    clients = await ground.clients(len(sizes))
    for client, size, backlog in zip(clients, sizes, backlogs, strict=True):
        await ground.turns.submit(client, jobs=backlog, units=size)
    served: Counter[ClientId] = Counter()
    for one in await ground.starts(starts):
        served[ClientId(one.start.lane.client_id)] += one.start.head.units
    for client, size, backlog in zip(clients, sizes, backlogs, strict=True):
        if served[client] >= size * backlog:
            raise RuntimeError("A client's backlog ran dry: its share can't be measured.")
    return [served[client] for client in clients]


async def weights_of_tiers(ground: Ground) -> Table:
    """Let a client of each tier saturate the pool; compare shares with weights."""
    rows: list[tuple[object, ...]] = [("queue, policy", *(tier.value for tier in Tier))]
    rows.append(("by weight", *("10.0 %", "20.0 %", "30.0 %", "40.0 %")))
    broken = []
    starts = ground.terms.starts // 2
    for queue in ("normal", "fast"):
        await ground.clear()
        clients = [await ground.turns.client(tier) for tier in Tier]
        for client in clients:
            await ground.turns.submit(client, jobs=starts, urgency=_URGENCY_OF[queue])
        counts = Counter(owners(await ground.starts(starts)))
        shares = [counts[client] / starts for client in clients]
        policy = POLICY_OF[queue]
        rows.append((f"{queue}, {policy}", *(f"{share:.1%}".replace("%", " %") for share in shares)))
        off = max(abs(share - weight) for share, weight in zip(shares, (0.1, 0.2, 0.3, 0.4), strict=True))
        if policy == "fair" and off > MOST_OFF:
            broken.append(f"A share in {queue} is {off:.1%} off its weight.")
    return Table(title=f"Shares of {starts} starts by tier", rows=rows, broken=tuple(broken))


# The guard.


async def bound_of_guard(ground: Ground) -> Table:
    """Flood the pool with an enterprise client's urgent work; see how long each small client waits."""
    rows: list[tuple[object, ...]] = [
        ("clients", "the flood", "the others", "longest wait in starts", "bound 20·N")
    ]
    broken = []
    for count in sorted({2, max(2, ground.terms.flooded // 2), ground.terms.flooded}):
        for flood, other in ((Urgency.URGENT, Urgency.LOW), (Urgency.HIGH, Urgency.HIGH)):
            longest, bound = await _longest_wait(ground, count, flood, other), GUARD_EVERY * count
            rows.append((count, f"enterprise, {flood}", f"basic, {other}", longest, bound))
            if longest > bound:
                broken.append(f"One of {count} clients waited {longest} starts, at most {bound}.")
    return Table(
        title="A steady flood, and when every other client is served", rows=rows, broken=tuple(broken)
    )


async def _longest_wait(ground: Ground, count: int, flood: Urgency, other: Urgency) -> int:
    """Return the most starts of the pool between two starts of one client, or since the beginning."""
    await ground.clear()
    starts = 2 * GUARD_EVERY * count
    many, *few = [await ground.turns.client(Tier.ENTERPRISE), *await ground.clients(count - 1, Tier.BASIC)]
    await ground.turns.submit(many, jobs=starts, urgency=flood)
    for client in few:
        await ground.turns.submit(client, jobs=starts // 2, urgency=other)
    begun = owners(await ground.starts(starts))
    longest = 0
    for client in few:
        places = [0, *(place for place, one in enumerate(begun, 1) if one == client), starts + 1]
        longest = max(longest, *(after - before for before, after in itertools.pairwise(places)))
    return longest


# Queues.


async def shares_of_queues(ground: Ground) -> Table:
    """Saturate all five queues; compare what each got with its published share."""
    await ground.clear()
    client, starts = await ground.turns.client(Tier.ENTERPRISE), ground.terms.starts // 2
    for urgency in Urgency:
        await ground.turns.submit(client, jobs=starts, urgency=urgency)
    await ground.turns.submit(client, jobs=starts // 10, run_after=ground.time.moment + timedelta(seconds=30))
    ground.time.later(60)
    begun = (await ground.starts(starts + RECENT_STARTS))[RECENT_STARTS:]
    counts = Counter(one.start.lane.queue for one in begun)
    found = await ground.turns.fetch("SELECT queue, share_percent FROM queues ORDER BY rank")
    rows: list[tuple[object, ...]] = [("queue", "share promised", "share of the starts")]
    broken = []
    for queue, percent in found:
        share = counts[queue] / len(begun)
        rows.append((queue, f"{percent} %" if percent else "the rest", f"{100 * share:.1f} %"))
        if share < percent / 100 - MOST_OFF:
            broken.append(f"{queue} got {share:.1%} of the starts, its share is {percent} %.")
    title = f"Five saturated queues, {len(begun)} starts"
    return Table(title=title, rows=rows, broken=tuple(broken))


# The reserve.


async def recall_of_reserve(ground: Ground) -> Table:
    """Lend the reserve to a flood of normal work; see how long urgent work then waits for it."""
    rows: list[tuple[object, ...]] = [
        ("reserve, units", "refill a second", "urgent job, units", "seconds waited", "reserve ÷ refill")
    ]
    broken = []
    for percent, refill, units in ((10, 50, 100), (10, 50, 40), (20, 500, 200)):
        waited = await _recall(ground, percent, refill, units)
        bound = buckets.recall_seconds(capacity=_POOL, reserved_percent=percent, refill_per_second=refill)
        rows.append((_POOL * percent // 100, refill, units, f"{waited:.1f}", f"{bound:.1f}"))
        if bound is None or waited > bound + _STEP:
            broken.append(f"Urgent work waited {waited:.1f} s for a reserve, at most {bound} s are promised.")
    return Table(
        title=f"A reserve that was lent, in a pool of {_POOL} units", rows=rows, broken=tuple(broken)
    )


_POOL, _STEP = 1_000, 0.1


async def _recall(ground: Ground, percent: int, refill: int, units: int) -> float:
    """Return the seconds from the submission of urgent work to its start."""
    await ground.clear()
    await ground.turns.execute(
        """
        UPDATE resource_pools SET capacity = $2, refill_per_second = $3, reserved_percent = $4,
            level_micro = 0, as_of = $5
        WHERE pool = $1
        """,
        HOP.pool,
        _POOL,
        refill,
        percent,
        ground.time.moment,
    )
    flood, urgent = await ground.clients(2)
    await ground.turns.submit(flood, jobs=1000)
    ground.time.later(_STEP)
    while await ground.turns.round():
        pass
    await ground.turns.submit(urgent, units=units, urgency=Urgency.URGENT)
    asked = ground.time.moment
    while urgent not in owners(await ground.turns.round()):
        ground.time.later(_STEP)
        if ground.time.moment - asked > timedelta(minutes=1):
            raise RuntimeError("Urgent work did not start within a minute.")
    return (ground.time.moment - asked) / timedelta(seconds=1)


async def _prove(databases: Databases, _: argparse.Namespace) -> Proven:
    async with databases.fresh() as database:
        tables = await run(database, Terms())
    for one in tables:
        print(f"\n{one.title}\n\n{as_table(one.rows)}", flush=True)
    kept = [("tables", "broken promises")] + [(one.title, len(one.broken)) for one in tables]
    return Proven(table=kept, broken=tuple(words for one in tables for words in one.broken))


PROOF = Proof(
    name="fairness",
    shows="who gets how much: small behind large, equal clients, tiers, the guard, queues, the reserve",
    needs="2 to 5 minutes, 400 MB of disk",
    run=_prove,
)
