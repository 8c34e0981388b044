"""A run is recorded without names or content, and its replay costs what it cost."""

from datetime import timedelta

import msgspec
import pytest

from aifactory.kernel.clock import utc_now
from aifactory.kernel.db import Database
from aifactory.resources import recording
from aifactory.resources.queries import recording as queries
from aifactory.resources.simulation.recorded import Header, RecordedExecution, spend_of, waits_of
from aifactory.resources.simulation.report import report_of
from aifactory.resources.simulation.running import play, recorded
from prove import replay

pytestmark = pytest.mark.anyio


async def test_a_short_run_is_recorded_whole_and_its_replay_costs_and_runs_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_BATCH", 3)
    began = utc_now()
    report = await replay.run(database, seconds=60, most=8, job_seconds=0.02, per_second=40.0)
    assert report.jobs == report.replayed_jobs > 10
    assert report.spent_nano == report.replayed_nano > 0
    async with database.begin() as tx:
        rows = await tx.raw.fetch("SELECT sum(cost_nano)::bigint AS nano, count(*) AS jobs FROM job_attempts")
        clients = await tx.raw.fetch("SELECT client_id FROM client_resource_limits")
    assert (rows[0]["nano"], rows[0]["jobs"]) == (report.spent_nano, report.jobs)

    lines = await recording.record(database, began, utc_now())
    executions = [msgspec.json.decode(line, type=RecordedExecution) for line in lines[1:]]
    header = msgspec.json.decode(lines[0], type=Header)
    assert spend_of(executions) == report.spent_nano
    assert len(waits_of(executions)) == report.jobs
    assert header.ground["pools"]["narrow"]["refill_per_second"] == replay.POOLS["narrow"][1]
    text = b"\n".join(lines)
    assert all(str(row["client_id"]).encode() not in text for row in clients)
    assert b"client 0" not in text
    assert all(job.parents == [0] for one in executions for job in one.jobs[1:]), (
        "each outline opens the rest"
    )

    assert report_of(play(recorded(text))).unfinished == 0
    async with database.begin() as tx:  # one that was cancelled before its turn had no attempt
        await tx.raw.execute(
            "DELETE FROM job_attempts WHERE job_id IN (SELECT id FROM jobs ORDER BY id DESC LIMIT 1)"
        )
    lines = await recording.record(database, began, utc_now())
    assert report_of(play(recorded(b"\n".join(lines)))).unfinished == 0
    earlier = await recording.record(database, began - timedelta(days=2), began - timedelta(days=1))
    assert len(earlier) == 1, "only the ground"
