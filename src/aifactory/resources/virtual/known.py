"""What a forecast begins with: the fleet as it is, and how it has been of late."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from aifactory.resources.gates import Snapshot
from aifactory.resources.interface import Hop
from aifactory.resources.virtual.coming import Coming
from aifactory.resources.virtual.habits import Habit
from aifactory.resources.virtual.lanes import LaneKey


class RunNow(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is under way."""

    job_id: UUID
    key: LaneKey
    hop: Hop
    units: int
    aged_from: datetime
    started_at: datetime


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a forecast begins with. The snapshot's running jobs are ``runs``; its slots are the free ones.

    ``depths``: how many jobs wait in each lane, counted up to ``counted``. ``executions``: of a job that
    waits or runs, its execution; ``to_come``: of an execution, how many jobs it has still to open.
    """

    snapshot: Snapshot
    runs: Sequence[RunNow] = ()
    depths: Mapping[int, int] = {}
    counted: int | None = None
    habits: Mapping[str, Habit] = {}
    executions: Mapping[UUID, UUID] = {}
    to_come: Mapping[UUID, int] = {}
    coming: Sequence[Coming] = ()

    def habit(self, pool: str) -> Habit:
        """Return how runs of a pool are, or those of all pools where nothing has run in it of late."""
        return self.habits.get(pool) or self.habits.get("") or Habit()

    def execution_of(self, job_id: UUID) -> UUID:
        """Return the id of a job's execution, if that was loaded, else its own."""
        return self.executions.get(job_id, job_id)
