"""Why an execution waits, where it stands and when it starts: read, looked up in the outlook, told.

The jobs are read first, the outlook then: what was claimed in between is told to be starting.
"""

from collections.abc import Sequence

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import JobId, parse_id, text_id
from aifactory.kernel.principal import Principal
from aifactory.resources.interface import ExecutionView, JobState, Resources
from aifactory.resources.interface.http import execution_by_any_id
from aifactory.resources.outlook import Outlooks
from aifactory.resources.position_schemas import Position
from aifactory.resources.queries import availability, positions
from aifactory.resources.queries.positions import OpenJob
from aifactory.resources.telling import Subject, position_of

MOST_STEPS = 20


async def explain(
    db: Database, resources: Resources, outlooks: Outlooks, text: str, caller: Principal
) -> Position:
    """Tell about an execution, a request's latest, or a job. Raises ExecutionNotFound."""
    async with db.begin() as tx:
        subject = await _read(tx, resources, text, caller)
    lanes = {step[0].lane_id for step in subject.steps if step[0].lane_id is not None}
    outlook = await outlooks.current(subject.now, lanes) if lanes else None
    return position_of(subject, outlook)


async def _read(tx: Tx, resources: Resources, text: str, caller: Principal) -> Subject:
    asked: tuple[JobId, JobState] | None = None
    if (job_id := parse_id("job", text)) is not None:
        found_job = await positions.execution_of_job(tx, job_id, caller.visible_work())
        if found_job is not None:
            text, asked = text_id("exec", found_job[0]), (JobId(job_id), found_job[1])
    found = await execution_by_any_id(tx, resources, text, caller)
    return await _subject(tx, found, asked)


async def _subject(tx: Tx, found: ExecutionView, asked: tuple[JobId, JobState] | None) -> Subject:
    if found.state.final:
        return Subject(
            execution=found, asked=asked, jobs=[], steps=[], ahead={}, counts={}, zone="UTC", now=tx.now
        )
    jobs = await positions.open_jobs(tx, found.id, asked[0] if asked else None)
    steps = _steps(jobs)
    told = {job.job_id: job for step in steps for job in (step[0], step[-1])}
    told |= {job.job_id: job for job in jobs if asked and job.job_id == asked[0] and job.lane_id is not None}
    return Subject(
        execution=found,
        asked=asked,
        jobs=jobs,
        steps=steps,
        ahead=await positions.count_ahead(tx, list(told.values())),
        counts=await positions.count_open(tx, found.id),
        zone=(await availability.client_terms(tx, found.client_id))["time_zone"],
        now=tx.now,
    )


def _steps(jobs: Sequence[OpenJob]) -> list[list[OpenJob]]:
    """Group the queued jobs by lane and kind."""
    steps: dict[tuple[int, str], list[OpenJob]] = {}
    for job in jobs:
        if job.lane_id is not None:
            steps.setdefault((job.lane_id, job.kind), []).append(job)
    return list(steps.values())[:MOST_STEPS]
