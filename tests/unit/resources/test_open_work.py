"""An execution's unfinished jobs in groups: how many in each state, its steps, what is first of the rest."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aifactory.resources.queries.positions import Group, OpenWork

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def group(state: str, jobs: int, lane_id: int | None = None, due_at: Any = None) -> Group:
    first = UUID(int=jobs)
    return Group(state=state, lane_id=lane_id, jobs=jobs, first=first, last=first, due_at=due_at)


def test_groups_add_up_by_state_and_what_runs_is_told_before_what_is_put_off() -> None:
    queued = [group("ready", 3, lane_id=1), group("ready", 4, lane_id=2)]
    waiting = [group("following", 1), group("scheduled", 5, due_at=AT)]
    sooner, runs = group("scheduled", 2, due_at=AT.replace(hour=11)), group("running", 9)
    found = OpenWork(groups=[*queued, *waiting, sooner, runs], at_least=False)
    assert found.counts == {"ready": 7, "following": 1, "scheduled": 7, "running": 9}
    assert found.steps == queued
    assert found.soonest == runs
    assert OpenWork(groups=[*queued, *waiting, sooner], at_least=False).soonest == sooner
    assert OpenWork(groups=[*queued, waiting[0]], at_least=False).soonest == waiting[0]
    assert OpenWork(groups=queued, at_least=False).soonest is None
