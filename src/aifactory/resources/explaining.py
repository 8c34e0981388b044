"""Why an execution waits, where it stands and when it starts: read, looked up in the outlook, told.

The jobs are read first, the outlook then: what was claimed in between is told to be starting. What is told
is as of the later of both.
"""

import msgspec

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import JobId, parse_id, text_id
from aifactory.kernel.principal import OPERATOR_READERS, Principal
from aifactory.resources.interface import ExecutionNotFound, ExecutionView, Resources
from aifactory.resources.interface.http import execution_by_any_id
from aifactory.resources.outlook import Outlooks
from aifactory.resources.position_schemas import Position
from aifactory.resources.queries import availability, positions
from aifactory.resources.subject import AskedJob, StepJobs, Subject
from aifactory.resources.telling import position_of


async def explain(
    db: Database, resources: Resources, outlooks: Outlooks, text: str, caller: Principal
) -> Position:
    """Tell about an execution, a request's latest, or a job. Raises ExecutionNotFound."""
    async with db.begin() as tx:
        subject = await _read(tx, resources, text, caller)
    lanes = {job.lane_id for job in subject.jobs if job.lane_id is not None}
    outlook = await outlooks.current(subject.now, lanes) if lanes else None
    if outlook is not None and outlook.as_of > subject.now:
        subject = msgspec.structs.replace(subject, now=outlook.as_of)
    return position_of(subject, outlook)


async def _read(tx: Tx, resources: Resources, text: str, caller: Principal) -> Subject:
    asked: AskedJob | None = None
    if (job_id := parse_id("job", text)) is not None:
        found_job = await positions.execution_of_job(tx, job_id, caller.visible_work())
        if found_job is None:
            raise ExecutionNotFound("There is no job with this id.")
        text, asked = text_id("exec", found_job[0]), AskedJob(job_id=JobId(job_id), state=found_job[1])
    found = await execution_by_any_id(tx, resources, text, caller)
    return await _subject(tx, found, asked, operator=caller.role in OPERATOR_READERS)


async def _subject(tx: Tx, found: ExecutionView, asked: AskedJob | None, *, operator: bool) -> Subject:
    if found.state.final:
        return Subject(execution=found, asked=asked, operator=operator, now=tx.now)
    open_work = await positions.open_work(tx, found.id)
    shown = open_work.steps[: positions.MOST_STEPS]
    wanted = [job_id for group in shown for job_id in (group.first, group.last)]
    wanted += [open_work.soonest.first] if open_work.soonest else []
    jobs = await positions.open_jobs(tx, [*wanted, *([asked.job_id] if asked else [])])
    queued = {job_id: job for job_id, job in jobs.items() if job.lane_id is not None}
    return Subject(
        execution=found,
        asked=asked,
        jobs=list(jobs.values()),
        steps=[
            StepJobs(first=queued[group.first], last=queued[group.last], jobs=group.jobs)
            for group in shown
            if {group.first, group.last} <= queued.keys()  # else it was claimed just now
        ],
        more_steps=len(open_work.steps) - len(shown),
        before=await positions.count_before(tx, list(queued.values())),
        counts=open_work.counts,
        counts_at_least=open_work.at_least,
        zone=(await availability.client_terms(tx, found.client_id))["time_zone"],
        operator=operator,
        now=tx.now,
    )
