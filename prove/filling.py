"""Many copies of what a few real submissions left: queued work, and work that has ended, by SQL alone.

The copies are like their originals in every column that is not an id, so a change of the schema needs none
here. Their money is held on the same budgets, so that they can run to their end.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec

from aifactory.kernel.db import Database

# A number of 48 bits at the end of an id, and what the id is of at its beginning; both in order of time.
_ID = "format('0190000{kind}-{part:04x}-7000-8000-%s', lpad(to_hex({number}), 12, '0'))::uuid"
_COPIES = """
CREATE TEMP TABLE copies AS
SELECT (i - 1) * cardinality($1::uuid[]) + s.k AS n, s.execution_id
FROM generate_series(1, {copies}) AS i
CROSS JOIN unnest($1::uuid[]) WITH ORDINALITY AS s (execution_id, k)
"""
_JOBS = """
CREATE TEMP TABLE copied_jobs AS
SELECT row_number() OVER (PARTITION BY execution_id ORDER BY id) AS k, id AS job_id, execution_id
FROM jobs WHERE execution_id = ANY($1)
"""
_HELD = """
UPDATE budgets b SET held_nano = b.held_nano + c.held, unfinished = b.unfinished + c.unfinished
FROM (
    SELECT budget_id, sum(e.held_nano) AS held, count(*) AS unfinished
    FROM copies n JOIN executions e ON e.id = n.execution_id CROSS JOIN unnest(e.budget_ids) AS budget_id
    GROUP BY budget_id) AS c
WHERE c.budget_id = b.id
"""


class _Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table, what its copies' ids are, and by what its rows belong to a job, if they do."""

    name: str
    ids: dict[str, str]
    job: str | None = None


_EXECUTION, _STAGE, _JOB, _REQUEST = "1", "2", "3", "4"
_FACTS = (
    _Table(name="executions", ids={"id": _EXECUTION, "request_id": _REQUEST}),
    _Table(name="stage_executions", ids={"id": _STAGE, "execution_id": _EXECUTION}),
    _Table(name="execution_lines", ids={"execution_id": _EXECUTION}),
    _Table(name="execution_events", ids={"execution_id": _EXECUTION}),
    _Table(name="jobs", ids={"id": _JOB, "stage_id": _STAGE, "execution_id": _EXECUTION}, job="id"),
)
_QUEUED = (*_FACTS, _Table(name="resource_queue", ids={"job_id": _JOB}, job="job_id"))
_ENDED = (
    *_FACTS,
    _Table(name="job_attempts", ids={"job_id": _JOB}, job="job_id"),
    _Table(name="cost_tracking", ids={"subject_id": _JOB, "execution_id": _EXECUTION}, job="subject_id"),
)
# What copies of a queue do not share: their place in the order, before that of the originals.
_OWN = {
    "seq": "nextval('queue_seq')",
    "aged_from": "t.aged_from - interval '1 hour' + n.n * interval '1 microsecond'",
}
_ASIDE = """
INSERT INTO client_resource_limits (client_id, name, tier)
SELECT md5('c' || i)::uuid, 'c', 'basic' FROM generate_series(1, {rows}) i;
INSERT INTO client_pool_usage (client_id, pool, usage, as_of)
SELECT md5('c' || i)::uuid, '{pool}', 1, clock_timestamp() FROM generate_series(1, {rows}) i;
INSERT INTO budgets (id, client_id, scope, first_day, period_start, period_end)
SELECT md5('b' || i)::uuid, md5('c' || i)::uuid, 'client', '2020-01-01', '2020-01-01Z', '2020-02-01Z'
FROM generate_series(1, {rows}) i;
INSERT INTO daily_usage (day, client_id, template, provider, model, calls, input_units, output_units,
    cost_nano)
SELECT date '2020-01-01' + i % 300, md5('c' || i)::uuid, 't', 'p', 'm', 1, 1, 1, 1
FROM generate_series(1, {rows}) i;
INSERT INTO data_references (id, client_id, name, media_type, encoding, bytes, words, sha256, content, kind,
    created_at, expires_at)
SELECT md5('d' || i)::uuid, md5('c' || i)::uuid, 'a', 'text/plain', 'identity', 1, 1, '', 'a', 'step',
    clock_timestamp(), clock_timestamp() + interval '30 days'
FROM generate_series(1, {rows}) i;
INSERT INTO idempotency_keys (scope, route, key, body_sha256, created_at)
SELECT 's', 'r', i::text, '', clock_timestamp() FROM generate_series(1, {rows}) i;
INSERT INTO queue_due (job_id, due_at, route_id, worker, queue, client_id, urgency, aged_from, seq, units,
    attempt, timeout_seconds)
SELECT md5('j' || i)::uuid, clock_timestamp() + interval '30 days', l.route_id, l.worker, l.queue,
    l.client_id, l.urgency, clock_timestamp(), i, 1, 1, 60
FROM generate_series(1, {rows}) i CROSS JOIN (SELECT * FROM lanes LIMIT 1) l
"""


async def forget_to_analyze(database: Database) -> None:
    """Take statistics now, and never again whatever comes."""
    connection = await database.own_connection()
    try:
        tables = await connection.fetch(
            """
            SELECT oid::regclass AS name FROM pg_class
            WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
            """
        )
        for table in tables:
            await connection.execute(f"ALTER TABLE {table['name']} SET (autovacuum_enabled = off)")
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


async def copy_queued(database: Database, executions: Sequence[Any], copies: int, *, part: int) -> None:
    """Queue so many copies of executions whose jobs are queued; ``part`` tells one call from another."""
    await _copy(database, _QUEUED, executions, copies, part=part, then=_HELD)


async def copy_ended(database: Database, executions: Sequence[Any], copies: int, *, part: int) -> None:
    """Store so many copies of executions that have ended, and of what they left in every history."""
    await _copy(database, _ENDED, executions, copies, part=part)


async def fill_aside(database: Database, pool: str, rows: int) -> None:
    """Fill what grows with clients and time rather than with jobs."""
    connection = await database.own_connection()
    try:
        await connection.execute(_ASIDE.format(pool=pool, rows=rows))
    finally:
        await connection.close()


async def _copy(
    database: Database,
    tables: Sequence[_Table],
    executions: Sequence[Any],
    copies: int,
    *,
    part: int,
    then: str = "",
) -> None:
    connection = await database.own_connection()
    try:
        async with connection.transaction():
            # Copies refer to copies, and all are there at the end: nobody needs to look each one up.
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(_COPIES.format(copies=copies), list(executions))
            await connection.execute(_JOBS, list(executions))
            for table in tables:
                await connection.execute(await _insert(connection, table, part))
            if then:
                await connection.execute(then)
            await connection.execute("DROP TABLE copies, copied_jobs")
    finally:
        await connection.close()


async def _insert(connection: "asyncpg.Connection[Any]", table: _Table, part: int) -> str:
    rows = await connection.fetch(
        """
        SELECT column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = $1 AND is_identity = 'NO'
        """,
        table.name,
    )
    own = _OWN if table.name == "resource_queue" else {}
    ids = {column: _id(kind, part) for column, kind in table.ids.items()}
    values = {row[0]: ids.get(row[0]) or own.get(row[0]) or f"t.{row[0]}" for row in rows}
    column = "id" if table.name == "executions" else "execution_id"
    origin = f"{table.name} t ON t.{column} = n.execution_id"
    if table.job is not None:
        origin = f"copied_jobs j USING (execution_id) JOIN {table.name} t ON t.{table.job} = j.job_id"
    names, sources = ", ".join(values), ", ".join(values.values())
    return f"INSERT INTO {table.name} ({names}) SELECT {sources} FROM copies n JOIN {origin}"


def _id(kind: str, part: int) -> str:
    return _ID.format(kind=kind, part=part, number="n.n * 1000 + j.k" if kind == _JOB else "n.n")
