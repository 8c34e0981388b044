"""What is told of a waiting execution: the job that starts first, its gate, its priority, its place. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.ids import text_id
from aifactory.resources import position_schemas as schemas
from aifactory.resources.foresight import Outlook
from aifactory.resources.freeing import with_opening
from aifactory.resources.gate_words import CAPS, UNTIMED, Closed, Listener, Obstacle
from aifactory.resources.gates import Lane, Snapshot
from aifactory.resources.interface import Hop
from aifactory.resources.off_queue import COME, STARTING, off_queue
from aifactory.resources.queries.positions import Before, OpenJob
from aifactory.resources.room import closed_gates
from aifactory.resources.subject import StepJobs, Subject
from aifactory.resources.virtual.foreseen import Place
from aifactory.resources.why import why

_with = msgspec.structs.replace
_UNTOLD: dict[str, Any] = {
    "position": None,
    "position_exact": True,
    "position_at_least": False,
    "ahead": None,
    "priority": None,
    "gate": None,
    "also_closed": [],
    "estimated_start": None,
    "earliest_start": None,
    "latest_start": None,
    "basis": None,
    "steps": [],
    "steps_not_shown": 0,
}


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """A queued job in the outlook: what keeps it, and when it starts, if anybody can say."""

    job: OpenJob
    lane: Lane
    closed: Closed
    place: Place | None


def position_of(subject: Subject, outlook: Outlook | None) -> schemas.Position:
    """Return what is told about a subject."""
    seats = {} if outlook is None else _seats(subject, outlook)
    told = _told_job(subject, seats)
    blank = _blank(subject, told, outlook)
    if told is None:
        return blank
    if told.lane_id is None:
        return _told_off_queue(blank, subject, off_queue(told, subject))
    seat = seats.get(told.job_id)
    if outlook is None or seat is None:
        come = outlook is not None and outlook.as_of < subject.now
        return _told_off_queue(blank, subject, COME if come else STARTING)
    steps = [_step(step, subject, seats.get(step.first.job_id)) for step in subject.steps]
    return _with(_queued(blank, subject, seat, outlook), steps=steps, steps_not_shown=subject.more_steps)


def _seats(subject: Subject, outlook: Outlook) -> dict[UUID, Seat]:
    """Return the queued jobs that may be told, as far as the outlook has their lanes."""
    asked = subject.asked.job_id if subject.asked else None
    jobs = [step.first for step in subject.steps]
    jobs += [job for job in subject.jobs if job.job_id == asked]
    return {job.job_id: _seat(job, lane, subject, outlook) for job, lane in _in_lanes(jobs, outlook)}


def _in_lanes(jobs: list[OpenJob], outlook: Outlook) -> Iterator[tuple[OpenJob, Lane]]:
    for job in jobs:
        lane = outlook.lanes.get(job.lane_id or 0)
        if lane is not None:
            yield job, lane


def _seat(job: OpenJob, lane: Lane, subject: Subject, outlook: Outlook) -> Seat:
    closed = why(outlook.plan, lane, job.head(), _listener(subject, outlook))
    closed = _opening(closed, lane, subject.now, outlook)
    return Seat(job=job, lane=lane, closed=closed, place=_place(job, lane, closed, subject, outlook))


def _listener(subject: Subject, outlook: Outlook) -> Listener:
    return Listener(now=subject.now, fleet=outlook.fleet, zone=subject.zone, operator=subject.operator)


def _told_job(subject: Subject, seats: dict[UUID, Seat]) -> OpenJob | None:
    """Return the job that was asked about, else the queued one that starts first, else what comes next."""
    if subject.asked is not None:
        return next((job for job in subject.jobs if job.job_id == subject.asked.job_id), None)
    if subject.steps:
        return min((step.first for step in subject.steps), key=lambda job: _start_order(job, seats))
    return min(subject.jobs, key=_off_queue_order, default=None)


def _start_order(job: OpenJob, seats: dict[UUID, Seat]) -> tuple[bool, datetime, int]:
    """What starts first comes first, what nobody can say of last."""
    place = seats[job.job_id].place if job.job_id in seats else None
    return place is None, job.aged_from if place is None else place.starts_at, job.seq


def _off_queue_order(job: OpenJob) -> tuple[bool, bool, float]:
    """What runs is told before what is put off, the soonest first."""
    return not job.runs, job.due_at is None, job.due_at.timestamp() if job.due_at else 0.0


def _hop(told: OpenJob | None, subject: Subject, outlook: Outlook | None) -> Hop | None:
    """Return where the told job goes, else where it would; to no client a pool that is another one's."""
    if told is None:
        return None
    taken = None if outlook is None else outlook.plan.hop_of.get(told.lane_id or 0)
    untold = () if subject.operator else told.others_pools
    return taken or next((hop for hop in told.hops if hop.pool not in untold), None)


def _blank(subject: Subject, told: OpenJob | None, outlook: Outlook | None) -> schemas.Position:
    """Return all that holds whatever state the told job is in."""
    execution, asked = subject.execution, subject.asked
    hop = _hop(told, subject, outlook)
    queue = None if outlook is None else outlook.plan.snapshot.queues.get(execution.queue)
    job_id = told.job_id if told else asked.job_id if asked else None
    return schemas.Position(
        id=text_id("exec", execution.id),
        request_id=text_id("req", execution.request_id),
        job_id=None if job_id is None else text_id("job", job_id),
        state=(asked.state if asked else execution.state).value,
        waits=False,
        queue=execution.queue,
        policy=queue.policy if queue else None,
        worker=told.worker if told else None,
        pool=hop.pool if hop else None,
        provider=hop.provider if hop else None,
        model=hop.model if hop else None,
        jobs=schemas.JobCounts(**subject.counts, at_least=subject.counts_at_least),
        as_of=subject.now,
        **_UNTOLD,
    )


def _told_off_queue(blank: schemas.Position, subject: Subject, closed: Closed) -> schemas.Position:
    begun = closed.gate in (Obstacle.STARTING, Obstacle.RUNNING)
    start = subject.execution.started_at if begun else closed.opens_at
    return _with(
        blank,
        waits=not begun,
        position=0 if begun else None,
        gate=_gate(closed, subject.now),
        estimated_start=start,
        earliest_start=start,
        latest_start=start if begun else None,
        basis="due" if start and not begun else None,
    )


# What is queued.


def _queued(blank: schemas.Position, subject: Subject, seat: Seat, outlook: Outlook) -> schemas.Position:
    before, place = subject.before_of(seat.job), seat.place
    timed = place is not None and not before.at_least
    return _with(
        blank,
        waits=True,
        position=place.place if place else None,
        position_exact=place is not None and place.exact,
        position_at_least=place is not None and before.at_least,
        ahead=schemas.Ahead(
            in_lane=before.jobs, in_pool=place.place - 1 if place else None, at_least=before.at_least
        ),
        priority=_priority(seat, outlook),
        gate=_gate(_in_turn(seat, before, outlook), subject.now),
        also_closed=[_gate(one, subject.now) for one in _also_closed(seat, subject, outlook)],
        estimated_start=place.starts_at if place and timed else None,
        earliest_start=place.earliest if place else None,
        latest_start=place.latest if place and timed else None,
        basis=place.basis if place else None,
    )


def _in_turn(seat: Seat, before: Before, outlook: Outlook) -> Closed:
    """Return what keeps a job; of one that waits for its turn only, with who is served before it."""
    found, place = seat.closed, seat.place
    if found.gate is Obstacle.TURN and found.opens_at is None and place is not None and place.place > 1:
        return _with(found, detail=_turn_words(place, before, outlook.forecast.pace(found.pool)))
    return found


def _also_closed(seat: Seat, subject: Subject, outlook: Outlook) -> Iterator[Closed]:
    """Give the gates that are closed beside the told one."""
    found, plan = seat.closed, outlook.plan
    told = None if found.of_job_ahead else (found.gate, found.pool)
    gates = closed_gates(
        _of_lane(plan.snapshot, seat.lane),
        seat.lane,
        seat.job.head(),
        outlook.as_of,
        urgent=[name for name, pool in plan.pools.items() if pool.urgent_waits],
        to=_listener(subject, outlook),
    )
    for one in gates:
        if (one.gate, one.pool) != told:
            yield _opening(one, seat.lane, subject.now, outlook)


def _opening(closed: Closed, lane: Lane, now: datetime, outlook: Outlook) -> Closed:
    """Return a gate with when there is room, if that depends on what runs."""
    if outlook.fleet.processes == 0:
        return closed
    return with_opening(closed, lane, outlook.plan.admission, outlook.forecast.ends, now)


def _of_lane(snapshot: Snapshot, lane: Lane) -> Snapshot:
    """Return what of a snapshot a lane's gates are made of: few rows, however many clients there are."""
    client_id = lane.client_id
    return _with(
        snapshot,
        lanes=(lane,),
        clients={client_id: gate} if (gate := snapshot.clients.get(client_id)) else {},
        usage={},
        quotas={key: quotas for key, quotas in snapshot.quotas.items() if key[0] == client_id},
    )


def _place(job: OpenJob, lane: Lane, closed: Closed, subject: Subject, outlook: Outlook) -> Place | None:
    """Return when a queued job starts, unless a gate keeps it that nobody can time.

    Of a job with more before it than were counted it is the place after those, so at least that; a bound from
    above says nothing of it.
    """
    if closed.gate in UNTIMED and closed.opens_at is None:
        return None
    before = subject.before_of(job)
    return outlook.forecast.place_at(
        subject.now,
        lane.id,
        before.jobs,
        job_id=job.job_id,
        bounded=closed.gate not in CAPS and not before.at_least,
    )


def _turn_words(place: Place, before: Before, pace: float | None) -> str:
    """Tell how many are before it, and how many a second or a minute its pool starts."""
    least = "at least " if before.at_least else ""
    jobs = "1 job is" if place.place == 2 else f"{place.place - 1:,} jobs are"
    words = f"{least}{jobs} served before it, {least}{before.jobs:,} of its own lane"
    words = words[0].upper() + words[1:]
    if pace is None or pace * 60 < 1:
        return f"{words}."
    starts = f"{pace:,.0f} a second" if pace >= 1 else f"{pace * 60:,.0f} a minute"
    return f"{words}; the pool starts about {starts}."


def _priority(seat: Seat, outlook: Outlook) -> schemas.Priority:
    plan, lane = outlook.plan, seat.lane
    hop = plan.hop_of.get(lane.id, lane.hops[0])
    standing = plan.usage.standing(lane.client_id, hop.pool)
    parts = [round(float(part), 2) for part in plan.parts(lane, seat.job.aged_from, standing)]
    tier, urgency, waiting, fairness = parts
    return schemas.Priority(
        score=round(sum(parts), 2),
        tier=tier,
        urgency=urgency,
        waiting=waiting,
        fairness=fairness,
        usage_per_weight=round(standing.per_weight, 2),
    )


def _step(step: StepJobs, subject: Subject, seat: Seat | None) -> schemas.Step:
    first, last = subject.before_of(step.first), subject.before_of(step.last)
    place = None if seat is None or first.at_least else seat.place
    return schemas.Step(
        kind=step.first.kind,
        jobs=step.jobs,
        first_ahead=first.jobs,
        last_ahead=last.jobs,
        ahead_at_least=last.at_least,
        estimated_start=place.starts_at if place else None,
        latest_start=place.latest if place else None,
        gate=None if seat is None else seat.closed.gate.value,
    )


def _gate(closed: Closed, now: datetime) -> schemas.BlockingGate:
    opens_at = closed.opens_at
    return schemas.BlockingGate(
        gate=closed.gate.value,
        detail=closed.detail,
        pool=closed.pool,
        needed=closed.needed,
        available=closed.available,
        opens_at=opens_at,
        opens_in_ms=None if opens_at is None else round((opens_at - now).total_seconds() * 1000),
        of_job_ahead=closed.of_job_ahead,
    )
