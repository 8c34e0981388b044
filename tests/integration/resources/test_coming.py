"""What is read of the work that came of late, of which a forecast supposes more."""

from datetime import timedelta

import pytest
from tests.factories import QUIZ, World

from aifactory.resources.interface import Urgency
from aifactory.resources.queries import fleet_snapshot

pytestmark = pytest.mark.anyio

SPREAD = """
    WITH spread AS (
        SELECT id, execution_id,
               $1::timestamptz - row_number() OVER (ORDER BY id) * interval '2 seconds' AS at
        FROM jobs),
    jobs_of AS (UPDATE jobs SET created_at = at FROM spread WHERE spread.id = jobs.id)
    UPDATE executions SET created_at = at FROM spread WHERE spread.execution_id = executions.id
"""


async def test_first_jobs_of_the_last_seconds_are_a_rate_and_those_of_one_moment_none(world: World) -> None:
    for number in range(4):
        body = {"template": QUIZ, "parameters": {"topic": str(number)}, "urgency": "high"}
        made = await world.ask("POST", "/api/execute", world.ours.key, json=body)
        assert made.status_code == 202, made.text
    async with world.database.begin() as tx:
        await tx.raw.execute("UPDATE jobs SET created_at = $1", tx.now)
        await tx.raw.execute("UPDATE executions SET created_at = $1", tx.now)
        assert await fleet_snapshot.load_coming(tx) == []
        await tx.raw.execute(SPREAD, tx.now)
        lane = await tx.raw.fetchrow("SELECT l.*, e.jobs_total FROM lanes l CROSS JOIN executions e LIMIT 1")
        assert lane is not None
        (found,) = await fleet_snapshot.load_coming(tx)
        assert found.a_second == pytest.approx(4 / 10)
        assert (found.follow, found.units) == (lane["jobs_total"] - 1, 2000)
        assert (found.key.queue, found.key.urgency) == (lane["queue"], Urgency.HIGH)
        assert (found.key.client_id, found.key.worker) == (world.ours.client_id, lane["worker"])
        later = await tx.raw.fetchval("UPDATE jobs SET created_at = $1 RETURNING 1", tx.now - timedelta(9))
        assert later == 1
        assert await fleet_snapshot.load_coming(tx) == []  # none of these is its execution's first
