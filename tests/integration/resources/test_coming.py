"""What is read of the work and the runs of late, of which a forecast supposes more."""

from datetime import timedelta

import pytest
from tests.fleet import Fleet

from aifactory.resources.interface import Urgency
from aifactory.resources.queries import fleet_snapshot

pytestmark = pytest.mark.anyio

SPREAD = """
    WITH spread AS (
        SELECT id, $1::timestamptz - row_number() OVER (ORDER BY id) * interval '2 seconds' AS at
        FROM executions),
    jobs_of AS (UPDATE jobs SET created_at = at FROM spread WHERE spread.id = jobs.execution_id)
    UPDATE executions SET created_at = at FROM spread WHERE spread.id = executions.id
"""


async def test_executions_of_the_last_seconds_are_a_rate_and_those_of_one_moment_none(fleet: Fleet) -> None:
    fleet.audited = False  # what has come is moved, and ended by hand
    fleet.script({"outline": 2, "write": 3})
    client_id = await fleet.client()
    for _ in range(4):
        await fleet.submit(client_id, urgency=Urgency.HIGH)
    async with fleet.database.begin() as tx:
        await tx.raw.execute("UPDATE jobs SET created_at = $1", tx.now)
        await tx.raw.execute("UPDATE executions SET created_at = $1", tx.now)
        assert await fleet_snapshot.load_coming(tx) == []
        await tx.raw.execute(SPREAD, tx.now)
        lane = await tx.raw.fetchrow("SELECT * FROM lanes")
        assert lane is not None
        (found,) = await fleet_snapshot.load_coming(tx)
        assert (found.client_id, found.keeps) == (client_id, False)
        assert found.a_second == pytest.approx(4 / 10)
        first, *_, last = found.sent
        assert len(found.sent) == 4
        assert last.at - first.at == timedelta(seconds=6)
        assert (first.jobs, first.follow, first.ended_at) == (2, 3, None)
        assert (first.key.queue, first.key.urgency) == (lane["queue"], Urgency.HIGH)
        assert (first.key.client_id, first.key.worker) == (client_id, lane["worker"])
        await tx.raw.execute(
            "UPDATE executions SET state = 'succeeded', free_hold_nano = 0, "
            "finished_at = created_at + interval '1.9 seconds'"
        )
        (kept,) = await fleet_snapshot.load_coming(tx)
        assert (kept.keeps, kept.sent[0].ended_at) == (True, first.at + timedelta(seconds=1.9))
        await tx.raw.execute("UPDATE jobs SET created_at = $1", tx.now - timedelta(9))
        assert await fleet_snapshot.load_coming(tx) == []  # none of these is its execution's first


async def test_habits_are_of_the_runs_that_ended_last_and_of_those_that_go_on(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.script({"write": 3})
    process = await fleet.process(slots=2)
    await fleet.submit(await fleet.client())
    async with fleet.database.begin() as tx:
        assert await fleet_snapshot.load_habits(tx) == {}
    await process.work()
    monkeypatch.setattr(fleet_snapshot, "LATEST_RUNS", 2)
    async with fleet.database.begin() as tx:
        await tx.raw.execute(
            """
            UPDATE job_attempts SET started_at = $1::timestamptz - place * interval '20 seconds',
                finished_at = $1::timestamptz - place * interval '19 seconds'
            FROM (SELECT job_id AS id, row_number() OVER (ORDER BY job_id) AS place FROM job_attempts) one
            WHERE id = job_id
            """,
            tx.now,
        )
        found = await fleet_snapshot.load_habits(tx)
        assert {pool: round(habit.seconds, 6) for pool, habit in found.items()} == {"": 1.5, "test": 1.5}
        assert found["test"].used is not None
