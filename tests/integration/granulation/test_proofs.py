"""Bounded versions of `make prove`: the same code, fewer executions."""

import pytest

from aifactory.kernel.db import Database
from devprovider.running import Running
from prove import faults, speed
from prove.ground import FINE, open_ground

pytestmark = pytest.mark.anyio


async def test_with_a_fifth_of_all_calls_failing_everything_ends_well_and_the_books_agree(
    database: Database,
) -> None:
    report = await faults.run(database, 10, within_seconds=150)
    assert report.stuck == 0, report
    assert report.fine == 1.0, report
    assert report.depth_missed == 0
    assert len(report.faults) >= 5, report.faults
    assert report.patch_share <= 0.10
    assert report.books.differences == ()
    assert report.audit_differences == 0


async def test_the_critical_path_of_170_nodes_at_ten_parallel_is_a_quarter_of_one_long_call(
    database: Database,
) -> None:
    with Running() as provider:
        async with open_ground(database, provider, in_flight=speed.PARALLEL) as ground:
            execution_id = await ground.submit(speed.WORK)
            view = (await ground.ended([execution_id], 120))[execution_id]
            assert view.state in FINE
        assert speed.critical_path_ratio(provider.calls()) >= 4
