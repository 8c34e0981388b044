"""What was asked about: an execution, or one job of it, with what of its work may be told."""

from datetime import datetime
from uuid import UUID

import msgspec

from aifactory.kernel.ids import JobId
from aifactory.resources.interface import ExecutionView, JobState
from aifactory.resources.queries.positions import Before, OpenJob


class AskedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was asked about by its own id."""

    job_id: JobId
    state: JobState


class StepJobs(msgspec.Struct, frozen=True, kw_only=True):
    """So many queued jobs of one kind in one lane, the first and the last of them."""

    first: OpenJob
    last: OpenJob
    jobs: int


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked about: an execution, or one job of it (``asked``).

    ``jobs``: those unfinished ones that may be told. ``steps``: its queued jobs, oldest first, and how many
    such steps more there are. ``before``: of the queued ones of ``jobs``, the jobs before them in their lane.
    ``operator``: who asks may read of other clients' work. ``now``: what every told span is counted from.
    """

    execution: ExecutionView
    asked: AskedJob | None
    jobs: list[OpenJob] = []
    steps: list[StepJobs] = []
    more_steps: int = 0
    before: dict[UUID, Before] = {}
    counts: dict[str, int] = {}
    counts_at_least: bool = False
    zone: str = "UTC"
    operator: bool
    now: datetime

    def before_of(self, job: OpenJob) -> Before:
        """Return how many jobs of its lane are before a queued job."""
        return self.before.get(job.job_id, Before())
