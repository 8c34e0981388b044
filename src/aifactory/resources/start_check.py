"""Whether a request could be taken and start now, by the scheduler's own rules: all that is in its way."""

from collections.abc import Iterator
from datetime import datetime

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import new_id
from aifactory.resources.availability_schemas import BlockedBy
from aifactory.resources.gate_words import Closed, Listener
from aifactory.resources.gates import Head, Lane
from aifactory.resources.interface import Estimate, NewExecution, PricedLine
from aifactory.resources.off_peak import OffPeak
from aifactory.resources.queries import availability, control_edit
from aifactory.resources.queries.fleet_snapshot import load_fleet
from aifactory.resources.room import closed_gates
from aifactory.resources.terms import QUEUE_OF


async def blocked_by(
    tx: Tx, new: NewExecution, found: Estimate, off_peak: OffPeak, *, operator: bool
) -> list[BlockedBy]:
    """Return what keeps a request as a whole, then the closed gates of its steps; nobody else waits.

    ``operator``: it is told to whoever may read of other clients' work.
    """
    due_at = _due_at(new, found, off_peak, tx.now)
    return [*_refusals(found, due_at, tx.now), *await _closed(tx, new, found, due_at, operator=operator)]


def _due_at(new: NewExecution, found: Estimate, off_peak: OffPeak, now: datetime) -> datetime:
    """Return when the request would be due if it were submitted now."""
    if not new.off_peak:
        return max(now, new.run_after or now)
    seconds = sum(stage.expected_seconds or 0 for stage in found.stages)
    return off_peak.due_at(now, run_after=new.run_after, deadline=new.deadline, expected_seconds=seconds)


def _refusals(found: Estimate, due_at: datetime, now: datetime) -> Iterator[BlockedBy]:
    """Yield what keeps the whole of it, before any gate of the scheduler."""
    if found.required_tier is not None:
        yield _blocked("tier", f"It needs the tier {found.required_tier}.")
    elif not found.fits:
        yield _blocked("budget", "Its worst-case cost does not fit the client's budgets now.")
    if due_at > now:
        yield _blocked("not_due", "It starts later, as it asks for.", opens_at=due_at)


def _blocked(gate: str, detail: str, *, opens_at: datetime | None = None) -> BlockedBy:
    return BlockedBy(
        gate=gate,
        detail=detail,
        pool=None,
        needed=None,
        available=None,
        opens_at=opens_at,
        steps=[],
        first=True,
    )


async def _closed(
    tx: Tx, new: NewExecution, found: Estimate, due_at: datetime, *, operator: bool
) -> list[BlockedBy]:
    """Return the closed gates of every step, each gate once with the most that a step needs there."""
    queue = "deferred" if due_at > tx.now else QUEUE_OF[new.urgency]
    steps = [
        (priced.line.kind, index == 0 and priced.line.phase == stage.lines[0].line.phase, lane)
        for index, stage in enumerate(found.stages)
        for priced in stage.lines
        for lane in [_lane(new, stage.worker, queue, priced, tx.now)]
    ]
    there = await load_fleet(tx, [lane for _, _, lane in steps])
    terms = await availability.client_terms(tx, new.client_id)
    urgent = await control_edit.pools_with_urgent_work(tx)
    to = Listener(now=tx.now, fleet=there.fleet, zone=terms["time_zone"], operator=operator)
    gates: dict[tuple[str, str | None], BlockedBy] = {}
    for kind, first, lane in steps:
        for gate in closed_gates(there.snapshot, lane, lane.heads[0], tx.now, urgent=urgent, to=to):
            key = gate.gate.value, gate.pool
            gates[key] = _merged(gates.get(key), gate, kind, first=first)
    return list(gates.values())


def _merged(known: BlockedBy | None, gate: Closed, kind: str, *, first: bool) -> BlockedBy:
    steps, worse = ([], True) if known is None else (known.steps, (gate.needed or 0) > (known.needed or 0))
    told = gate if worse or known is None else known
    return BlockedBy(
        gate=gate.gate.value,
        detail=gate.detail,
        pool=gate.pool,
        needed=told.needed,
        available=told.available,
        opens_at=told.opens_at,
        steps=[*steps, *([] if kind in steps else [kind])],
        first=first or (known is not None and known.first),
    )


def _lane(new: NewExecution, worker: str, queue: str, priced: PricedLine, now: datetime) -> Lane:
    """Return a lane with one job of a line, the largest that it may have, as if it had just been queued."""
    line = priced.line
    head = Head(
        job_id=new_id(), aged_from=now, seq=0, units=line.input_bound + line.output_limit, needs=line.needs
    )
    return Lane(
        id=0,
        hops=line.route.hops,
        further_pools=line.route.further_pools,
        local=line.route.local,
        worker=worker,
        queue=queue,
        client_id=new.client_id,
        urgency=new.urgency,
        heads=(head,),
        complete=True,
    )
