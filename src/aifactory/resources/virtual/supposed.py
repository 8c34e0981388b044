"""What nobody knows yet of jobs, supposed: how long they run, what they use, what they open. Pure.

Runs are supposed to be as unlike one another as the latest were: of a burst that begins at once, not all end
at once. They are taken from that spread in turn, not by chance, so that few of them are already like many.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from uuid import UUID

import msgspec

from aifactory.resources.gates import Head
from aifactory.resources.virtual.habits import Habit
from aifactory.resources.virtual.known import Known, RunNow
from aifactory.resources.virtual.lanes import Work

_FEW = 8  #: places: with fewer, how unlike runs are is no more than chance to who waits for one
GOLDEN = (math.sqrt(5) - 1) / 2


class Execution(msgspec.Struct, gc=False):
    """An execution: its open jobs, and how many follow when the last of them has ended."""

    open: int = 0
    follow: int = 0


class Part(msgspec.Struct, frozen=True, gc=False):
    """What a job is of: its execution and, of one that waits today, its lane."""

    execution: Execution
    lane_id: int | None = None


class Supposed:
    """The suppositions of one forecast."""

    def __init__(self, known: Known, now: datetime) -> None:
        self._known, self._now = known, now
        self._executions: dict[UUID, Execution] = {}
        self._ids = count(2**127)
        self._turn = 0.5
        snapshot = known.snapshot
        few = snapshot.slots + snapshot.local_slots + len(known.runs) < _FEW
        self._served_by_few = {
            client_id for client_id, gate in snapshot.clients.items() if few or gate.max_running < _FEW
        }

    def next_id(self) -> UUID:
        """Return an id that no real job has."""
        return UUID(int=next(self._ids))

    def execution_of(self, job_id: UUID) -> Execution:
        """Return the execution of a job of today, with that job open."""
        known = self._known.execution_of(job_id)
        found = self._executions.get(known)
        if found is None:
            follow = self._known.to_come.get(known, 0)
            found = self._executions[known] = Execution(follow=follow)
        found.open += 1
        return found

    def work(
        self, head: Head, client_id: UUID, pool: str, owner: Part, ready_at: datetime | None = None
    ) -> Work:
        """Return a client's queued job with what becomes of it."""
        habit = self._known.habit(pool)
        return Work(
            head=head,
            seconds=habit.seconds if client_id in self._served_by_few else self._next_length(habit),
            used=None if habit.used is None else round(head.units * habit.used),
            ready_at=ready_at or self._now,
            owner=owner,
        )

    def _next_length(self, habit: Habit) -> float:
        self._turn = (self._turn + GOLDEN) % 1
        return habit.length(self._turn)

    def left(self, runs: Sequence[RunNow]) -> list[float]:
        """Return the seconds that are left of each of these runs."""
        shares = _shares(runs, self._known)
        return [
            self._known.habit(run.hop.pool).left((self._now - run.started_at).total_seconds(), share)
            for run, share in zip(runs, shares, strict=True)
        ]


def _shares(runs: Sequence[RunNow], known: Known) -> list[float]:
    """Return how long each run is among those that have taken as long: a client's are spread evenly, and all.

    Where only its own runs keep a client, as at its cap, none of them is an extreme one.
    """
    of_client: dict[UUID, list[int]] = {}
    for number, run in enumerate(runs):
        of_client.setdefault(run.key.client_id, []).append(number)
    shares = [0.5] * len(runs)
    for place, (client_id, numbers) in enumerate(of_client.items()):
        gate = known.snapshot.clients.get(client_id)
        capped = gate is not None and len(numbers) >= gate.max_running
        middle = 0.5 if capped else (0.5 + GOLDEN * place) % 1
        for turn, number in enumerate(numbers):
            shares[number] = (turn + middle) / len(numbers)
    return shares
