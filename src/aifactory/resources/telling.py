"""What is told of a waiting execution: the job that starts first, its gate, its priority, its place."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from aifactory.kernel.ids import JobId, text_id
from aifactory.resources import position_schemas as schemas
from aifactory.resources.foresight import Outlook
from aifactory.resources.freeing import with_opening
from aifactory.resources.gate_words import CAPS, UNTIMED, Closed, Obstacle, spoken
from aifactory.resources.gates import Lane, Snapshot
from aifactory.resources.interface import ExecutionView, Hop, JobState
from aifactory.resources.queries.positions import Before, OpenJob
from aifactory.resources.room import closed_gates
from aifactory.resources.submission import NEVER
from aifactory.resources.virtual.foreseen import Place
from aifactory.resources.why import why

_with = msgspec.structs.replace
Asked = tuple[JobId, JobState]


class StepJobs(msgspec.Struct, frozen=True, kw_only=True):
    """So many queued jobs of one kind in one lane, the first and the last of them."""

    first: OpenJob
    last: OpenJob
    jobs: int


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked about: an execution, or one job of it (``asked``, with its state).

    ``jobs``: those unfinished ones that may be told. ``steps``: its queued jobs, oldest first, and how many
    such steps more there are. ``before``: of the queued ones of ``jobs``, the jobs before them in their lane.
    ``operator``: who asks may read of other clients' work.
    """

    execution: ExecutionView
    asked: Asked | None
    jobs: list[OpenJob] = []
    steps: list[StepJobs] = []
    more_steps: int = 0
    before: dict[UUID, Before] = {}
    counts: dict[str, int] = {}
    counts_at_least: bool = False
    zone: str = "UTC"
    operator: bool
    now: datetime


def position_of(subject: Subject, outlook: Outlook | None) -> schemas.Position:
    """Return what is told about a subject."""
    told = _told_job(subject, outlook)
    blank = _blank(subject, told, outlook)
    if told is None:
        return blank
    if told.lane_id is None:
        return _told_off_queue(blank, subject, _off_queue(told, subject))
    if outlook is None or told.lane_id not in outlook.lanes:
        come = outlook is not None and outlook.as_of < subject.now
        return _told_off_queue(blank, subject, _COME if come else _STARTING)
    return _queued(blank, subject, told, outlook)


def _told_job(subject: Subject, outlook: Outlook | None) -> OpenJob | None:
    """Return the job that was asked about, else the queued one that starts first, else what comes next."""
    if subject.asked is not None:
        return next((job for job in subject.jobs if job.job_id == subject.asked[0]), None)
    if subject.steps:
        firsts = [step.first for step in subject.steps]
        return (
            firsts[0] if outlook is None else min(firsts, key=lambda job: _start_order(job, subject, outlook))
        )
    return min(subject.jobs, key=_off_queue_order, default=None)


def _start_order(job: OpenJob, subject: Subject, outlook: Outlook) -> tuple[bool, datetime, int]:
    """What starts first comes first, what nobody can say of last."""
    place = _place(job, subject, outlook, None)
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
    execution = subject.execution
    hop = _hop(told, subject, outlook)
    queues = {} if outlook is None else outlook.plan.snapshot.queues
    return schemas.Position(
        id=text_id("exec", execution.id),
        request_id=text_id("req", execution.request_id),
        job_id=text_id("job", told.job_id)
        if told
        else text_id("job", subject.asked[0])
        if subject.asked
        else None,
        state=(subject.asked[1] if subject.asked else execution.state).value,
        waits=False,
        queue=execution.queue,
        policy=queues[execution.queue].policy if execution.queue in queues else None,
        worker=told.worker if told else None,
        pool=hop.pool if hop else None,
        provider=hop.provider if hop else None,
        model=hop.model if hop else None,
        position=None,
        position_exact=True,
        position_at_least=False,
        ahead=None,
        priority=None,
        gate=None,
        also_closed=[],
        estimated_start=None,
        earliest_start=None,
        latest_start=None,
        basis=None,
        jobs=schemas.JobCounts(
            ready=subject.counts.get("ready", 0),
            scheduled=subject.counts.get("scheduled", 0),
            following=subject.counts.get("following", 0),
            running=subject.counts.get("running", 0),
            at_provider=subject.counts.get("at_provider", 0),
            at_least=subject.counts_at_least,
        ),
        steps=[],
        steps_not_shown=0,
        as_of=subject.now,
    )


# What is in no queue.

_COME = Closed(gate=Obstacle.TURN, detail="It came a moment ago; its place is known in a few seconds.")
_STARTING = Closed(gate=Obstacle.STARTING, detail="A process has taken it and starts it.")


def _off_queue(job: OpenJob, subject: Subject) -> Closed:
    """Return what keeps a job that no lane has."""
    if job.state is JobState.RUNNING:
        if subject.asked is not None:
            return Closed(gate=Obstacle.RUNNING, detail="It runs.")
        count = subject.counts.get("running", 1)
        run = "1 of its jobs runs" if count == 1 else f"{count:,} of its jobs run"
        return Closed(gate=Obstacle.RUNNING, detail=f"{run}; what follows is queued when they end.")
    if job.state is JobState.FOLLOWING:
        return Closed(gate=Obstacle.FOLLOWING, detail="An identical job is under way: it shares its answer.")
    if job.state is JobState.AT_PROVIDER:
        return Closed(gate=Obstacle.AT_PROVIDER, detail="It is in a batch at its provider.")
    if job.due_at is None or job.runs:
        return _STARTING
    return _put_off(job, job.due_at, subject)


def _put_off(job: OpenJob, due_at: datetime, subject: Subject) -> Closed:
    if due_at >= subject.execution.deadline + NEVER:
        held = "A handshake holds it; it is queued when that is processed, and given up when it is over."
        return Closed(gate=Obstacle.HELD, detail=held)
    if job.attempt > 1:
        soon = spoken((due_at - subject.now).total_seconds())
        words = f"Attempt {job.attempt} of {job.max_attempts} follows in {soon}."
    else:
        local = due_at.astimezone(ZoneInfo(subject.zone))
        words = f"It is put off, as it asks for, until {local:%Y-%m-%d at %H:%M} {subject.zone}."
    return Closed(gate=Obstacle.NOT_DUE, detail=words, opens_at=due_at)


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


def _queued(blank: schemas.Position, subject: Subject, job: OpenJob, outlook: Outlook) -> schemas.Position:
    lane = outlook.lanes[job.lane_id or 0]
    head = job.head()
    plan, operator = outlook.plan, subject.operator
    found = _opening(
        why(plan, lane, head, fleet=outlook.fleet, zone=subject.zone, operator=operator), lane, outlook
    )
    gates = closed_gates(
        _of_lane(plan.snapshot, lane),
        lane,
        head,
        outlook.as_of,
        urgent=[name for name, pool in plan.pools.items() if pool.urgent_waits],
        fleet=outlook.fleet,
        zone=subject.zone,
        operator=operator,
    )
    told = None if found.of_job_ahead else (found.gate, found.pool)
    before = subject.before.get(job.job_id, Before())
    place = _place(job, subject, outlook, found)
    if found.gate is Obstacle.TURN and found.opens_at is None and place is not None and place.place > 1:
        found = _with(found, detail=_turn_words(place, before, outlook.forecast.pace(found.pool)))
    return _with(
        blank,
        waits=True,
        position=place.place if place else None,
        position_exact=place is not None and place.exact,
        position_at_least=place is not None and before.at_least,
        ahead=schemas.Ahead(
            in_lane=before.jobs, in_pool=place.place - 1 if place else None, at_least=before.at_least
        ),
        priority=_priority(job, outlook),
        gate=_gate(found, subject.now),
        also_closed=[
            _gate(_opening(one, lane, outlook), subject.now) for one in gates if (one.gate, one.pool) != told
        ],
        estimated_start=place.starts_at if place and not before.at_least else None,
        earliest_start=place.earliest if place else None,
        latest_start=place.latest if place and not before.at_least else None,
        basis=place.basis if place else None,
        steps=[_step(step, subject, outlook) for step in subject.steps],
        steps_not_shown=subject.more_steps,
    )


def _opening(closed: Closed, lane: Lane, outlook: Outlook) -> Closed:
    """Return a gate with when there is room, if that depends on what runs."""
    if outlook.fleet.processes == 0:
        return closed
    return with_opening(closed, lane, outlook.plan.admission, outlook.forecast.ends)


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


def _place(job: OpenJob, subject: Subject, outlook: Outlook, found: Closed | None) -> Place | None:
    """Return when a queued job starts, unless a gate keeps it that nobody can time.

    Of a job with more before it than were counted it is the place after those, so at least that; a bound from
    above says nothing of it.
    """
    lane = outlook.lanes.get(job.lane_id or 0)
    if lane is None:
        return None
    found = found or why(outlook.plan, lane, job.head())
    if found.gate in UNTIMED and found.opens_at is None:
        return None
    before = subject.before.get(job.job_id, Before())
    return outlook.forecast.place_at(
        subject.now,
        lane.id,
        before.jobs,
        job_id=job.job_id,
        bounded=found.gate not in CAPS and not before.at_least,
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


def _priority(job: OpenJob, outlook: Outlook) -> schemas.Priority:
    plan = outlook.plan
    lane = outlook.lanes[job.lane_id or 0]
    hop = plan.hop_of.get(lane.id, lane.hops[0])
    standing = plan.usage.standing(lane.client_id, hop.pool)
    parts = [round(float(part), 2) for part in plan.parts(lane, job.aged_from, standing)]
    tier, urgency, waiting, fairness = parts
    return schemas.Priority(
        score=round(sum(parts), 2),
        tier=tier,
        urgency=urgency,
        waiting=waiting,
        fairness=fairness,
        usage_per_weight=round(standing.per_weight, 2),
    )


def _step(step: StepJobs, subject: Subject, outlook: Outlook) -> schemas.Step:
    first, last = (subject.before.get(job.job_id, Before()) for job in (step.first, step.last))
    lane = outlook.lanes.get(step.first.lane_id or 0)
    place = _place(step.first, subject, outlook, None)
    return schemas.Step(
        kind=step.first.kind,
        jobs=step.jobs,
        first_ahead=first.jobs,
        last_ahead=last.jobs,
        ahead_at_least=last.at_least,
        estimated_start=place.starts_at if place and not first.at_least else None,
        latest_start=place.latest if place and not first.at_least else None,
        gate=None if lane is None else why(outlook.plan, lane, step.first.head()).gate.value,
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
        opens_in_ms=None if opens_at is None else max(0, round((opens_at - now).total_seconds() * 1000)),
        of_job_ahead=closed.of_job_ahead,
    )
