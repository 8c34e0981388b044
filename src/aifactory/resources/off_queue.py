"""What keeps a job that no lane has: it runs, is put off, follows another, or is being started. Pure."""

from datetime import datetime
from zoneinfo import ZoneInfo

from aifactory.resources.gate_words import Closed, Obstacle
from aifactory.resources.interface import JobState
from aifactory.resources.queries.positions import OpenJob
from aifactory.resources.spans import not_before, told_at
from aifactory.resources.subject import Subject
from aifactory.resources.submission import NEVER

COME = Closed(gate=Obstacle.TURN, detail="It came a moment ago; its place is known in a few seconds.")
STARTING = Closed(gate=Obstacle.STARTING, detail="A process has taken it and starts it.")


def off_queue(job: OpenJob, subject: Subject) -> Closed:
    """Return what keeps a job that no lane has."""
    if job.state is JobState.RUNNING:
        return Closed(gate=Obstacle.RUNNING, detail=_running_words(subject))
    if job.state is JobState.FOLLOWING:
        return Closed(gate=Obstacle.FOLLOWING, detail="An identical job is under way: it shares its answer.")
    if job.state is JobState.AT_PROVIDER:
        return Closed(gate=Obstacle.AT_PROVIDER, detail="It is in a batch at its provider.")
    if job.due_at is None or job.runs:
        return STARTING
    return _put_off(job, job.due_at, subject)


def _running_words(subject: Subject) -> str:
    if subject.asked is not None:
        return "It runs."
    count = subject.counts.get("running", 1)
    run = "1 of its jobs runs" if count == 1 else f"{count:,} of its jobs run"
    return f"{run}; what follows is queued when they end."


def _put_off(job: OpenJob, due_at: datetime, subject: Subject) -> Closed:
    if due_at >= subject.execution.deadline + NEVER:
        held = "A handshake holds it; it is queued when that is processed, and given up when it is over."
        return Closed(gate=Obstacle.HELD, detail=held)
    if job.attempt > 1:
        words = f"Attempt {job.attempt} of {job.max_attempts} follows {told_at(due_at, subject.now)}."
    else:
        local = due_at.astimezone(ZoneInfo(subject.zone))
        words = f"It is put off, as it asks for, until {local:%Y-%m-%d at %H:%M} {subject.zone}."
    return Closed(gate=Obstacle.NOT_DUE, detail=words, opens_at=not_before(subject.now, due_at))
