"""The measures work on a small scale: what a drain says it did is what the database has."""

import asyncpg
import pytest
from bench import drain
from bench.drain import drain_ours
from bench.ours import COST_NANO
from sqlalchemy import make_url

pytestmark = pytest.mark.anyio

EXECUTIONS, JOBS = 8, 2


async def test_a_drain_counts_the_jobs_that_ended_and_each_is_in_the_ledger_the_events_and_the_history(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "CLIENTS", 2)
    done = await drain_ours(fresh_database_url, executions=EXECUTIONS, jobs=JOBS, slots=8)
    jobs = EXECUTIONS * JOBS
    assert done["jobs"] == jobs
    assert done["seconds"] > 0
    assert done["jobs_per_second"] == pytest.approx(jobs / done["seconds"])
    address = make_url(fresh_database_url).set(drivername="postgresql")
    connection = await asyncpg.connect(address.render_as_string(hide_password=False))
    try:
        entries = dict(await connection.fetch("SELECT kind, count(*) FROM cost_tracking GROUP BY kind"))
        spent = await connection.fetchval("SELECT sum(amount_nano) FROM cost_tracking WHERE kind = 'spend'")
        kinds = await connection.fetch(
            """
            SELECT DISTINCT e.client_id, e.queue, a.pool FROM executions e
            JOIN jobs j ON j.execution_id = e.id JOIN job_attempts a ON a.job_id = j.id
            """
        )
        events = dict(await connection.fetch("SELECT type, count(*) FROM execution_events GROUP BY type"))
    finally:
        await connection.close()
    assert entries["hold"] == EXECUTIONS
    assert entries["spend"] == jobs
    assert sum(entries.values()) == done["entries"]
    assert spent == jobs * COST_NANO
    assert len(kinds) == EXECUTIONS  # 2 clients, 2 queues, 2 pools
    assert events["execution.succeeded"] == EXECUTIONS
