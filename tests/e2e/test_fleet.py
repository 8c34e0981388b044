"""Bounded versions of ``make prove``: a fleet whose processes are killed, and one that is asked to stop."""

import pytest

from aifactory.kernel.db import Database
from prove import fleet, stop

pytestmark = pytest.mark.anyio


async def test_a_fleet_that_is_killed_again_and_again_ends_everything_once_and_pays_it_once(
    database: Database,
) -> None:
    report = await fleet.run(database, 30, 2)
    assert report.broken == ()
    assert report.audit_differences == 0
    assert (report.executions, report.kills) == (30, 2)
    assert set(report.by_state) <= {"succeeded", "partial"}, report.by_state
    assert report.lost_attempts > 0, "nothing was lost: the kills met idle processes"
    assert report.connections > 30, "nobody had to come back"


async def test_a_stop_with_open_streams_and_calls_in_flight_loses_nothing(database: Database) -> None:
    report = await stop.run(database, grace_seconds=1)
    assert report.broken == ()
    assert report.streams == stop.STREAMS
    assert report.calls_in_flight >= stop.EXECUTIONS // 2
