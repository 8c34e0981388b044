"""A ledger of millions of entries: the rebuild finds no difference, then exactly those that were planted."""

import argparse
import random
import time
from typing import Any

import asyncpg
import msgspec

from aifactory.kernel.db import Database
from aifactory.resources.audit import Difference, Report, audit
from prove.databases import Databases
from prove.reporting import SEED, Option, Proof, Proven, proven

ENTRIES = 10_000_000
MOST_SECONDS = 60.0  #: for the whole audit, on two cores that do nothing else
CLIENTS = 50
_PER_EXECUTION = 9.97  # ten, and seven of those that are not done, one in a hundred

# One row per execution: whose, of what, when, on which budgets, what its three jobs cost. All else is made
# from these rows, each part by itself: the balances do not come from the entries.
_PLAN = """
CREATE TEMP TABLE plan AS
SELECT i, number.id, client.id AS client_id, 'template_' || i % 4 AS template, time.at,
       1000 + i * 7 % 5000 AS s1, 1000 + i * 11 % 5000 AS s2, 1000 + i * 13 % 5000 AS s3,
       i % 100 = 0 AS open,
       ARRAY[md5(concat_ws('-', 'client', client.id, time.month))::uuid,
             md5(concat_ws('-', 'key', client.id, time.month, i % 3))::uuid,
             md5(concat_ws('-', 'template', client.id, time.month, i % 4))::uuid,
             md5(concat_ws('-', 'day', client.id, time.day))::uuid] AS budget_ids
FROM generate_series(1, $1::int) AS i
CROSS JOIN LATERAL (SELECT md5('client' || i % $2::int)::uuid AS id) client
CROSS JOIN LATERAL (SELECT timestamptz '2026-01-01 00:00:00Z' + i * (interval '180 days' / $1) AS at) moment
CROSS JOIN LATERAL (SELECT moment.at, (moment.at AT TIME ZONE 'UTC')::date AS day,
    date_trunc('month', moment.at, 'UTC') AS month) time
CROSS JOIN LATERAL (SELECT format('01900000-0000-7000-8000-%s', lpad(to_hex(i), 12, '0'))::uuid AS id)
    number
"""
# A hold of four worst cases of 10,000: three jobs spend, one place is left over. The first overran by 5, the
# first try of the second was lost.
_USAGE = """'{"inputUnits": 100, "cachedInputUnits": 40, "outputUnits": 50}'::jsonb"""
_PRICE = """'{"inputNanoPerMillion": 3000000, "cachedNanoPerMillion": 300000,
    "outputNanoPerMillion": 15000000, "source": "providers file", "at": "2026-01-01T00:00:00Z"}'::jsonb"""
_JOB = "format('0190000%s-0000-7000-8000-%s', {number}, lpad(to_hex(i), 12, '0'))::uuid"
_FILL = {
    "executions": """
        INSERT INTO executions (id, request_id, client_id, template, template_version, state, urgency, queue,
            accuracy, input, budget_ids, estimated_nano, held_nano, free_hold_nano, spent_nano, event_seq,
            jobs_done, jobs_total, created_at, aged_from, deadline, started_at, finished_at)
        SELECT id, id, client_id, template, 1, CASE WHEN open THEN 'running' ELSE 'succeeded' END, 'normal',
            'normal', 'normal', '{"topic": "a topic of some words"}', budget_ids, 40000, 40000,
            CASE WHEN open THEN 10000 ELSE 0 END, s1 + s2 + CASE WHEN open THEN 0 ELSE s3 END, 2,
            CASE WHEN open THEN 2 ELSE 3 END, CASE WHEN open THEN 4 ELSE 3 END, at, at, at + interval '1 day',
            at, CASE WHEN open THEN NULL ELSE at END
        FROM plan
        """,
    "stages": """
        INSERT INTO stage_executions (id, execution_id, ordinal, worker, action, spec, resolved, state,
            open_jobs, started_at, finished_at)
        SELECT id, id, 0, 'granulation', 'granulate', '{}', '{}',
            CASE WHEN open THEN 'running' ELSE 'succeeded' END, CASE WHEN open THEN 1 ELSE 0 END, at,
            CASE WHEN open THEN NULL ELSE at END
        FROM plan
        """,
    "lines": """
        INSERT INTO execution_lines (execution_id, stage_ordinal, kind, phase, remaining, count, route_id,
            input_bound, output_limit, worst_nano)
        SELECT id, 0, 'write', 'write', CASE WHEN open THEN 1 ELSE 0 END, 4, 1, 500, 500, 10000 FROM plan
        """,
    "jobs": f"""
        INSERT INTO jobs (id, stage_id, execution_id, client_id, worker, kind, state, max_attempts,
            timeout_seconds, route_id, input_bound, output_limit, hold_nano, cost_nano, payload, created_at,
            started_at, finished_at)
        SELECT {_JOB.format(number="j.number")}, id, id, client_id, 'granulation', 'write',
            CASE WHEN runs THEN 'at_provider' ELSE 'succeeded' END, 3, 60, 1, 500, 500,
            CASE WHEN runs THEN 10000 ELSE 0 END, CASE WHEN runs THEN 0 ELSE j.spent END,
            '{{"node": "n1", "title": "A title of some words"}}', at, at, CASE WHEN runs THEN NULL ELSE at END
        FROM plan CROSS JOIN LATERAL (VALUES (1, s1), (2, s2), (3, s3)) j(number, spent)
        CROSS JOIN LATERAL (SELECT open AND j.number = 3 AS runs) r
        """,
    "attempts": f"""
        INSERT INTO job_attempts (job_id, attempt, token, process_id, provider, model, pool, started_at,
            finished_at, outcome, usage, price, cost_nano)
        SELECT {_JOB.format(number="a.number")}, a.attempt, id, id, 'provider', 'model_' || i % 3, 'pool', at,
            at, CASE a.lost WHEN true THEN 'process_lost' ELSE 'succeeded' END,
            CASE a.lost WHEN true THEN NULL ELSE {_USAGE} END, {_PRICE}, a.spent
        FROM plan CROSS JOIN LATERAL (VALUES (1, 1, false, s1), (2, 1, true, 0), (2, 2, false, s2),
            (3, 1, false, s3)) a(number, attempt, lost, spent)
        WHERE NOT (open AND a.number = 3)
        """,
    "ledger": f"""
        INSERT INTO cost_tracking (at, client_id, execution_id, subject_id, attempt, kind, from_account,
            to_account, amount_nano, budget_ids, provider, model, pool, usage, price)
        SELECT at, client_id, id, CASE e.number WHEN 0 THEN id ELSE {_JOB.format(number="e.number")} END,
            e.attempt, e.kind, e.source, e.target, e.amount, budget_ids,
            CASE WHEN e.call THEN 'provider' END, CASE WHEN e.call THEN 'model_' || i % 3 END,
            CASE WHEN e.call THEN 'pool' END,
            CASE WHEN e.call AND e.kind <> 'unreconciled' THEN {_USAGE} END,
            CASE WHEN e.call THEN {_PRICE} END
        FROM plan CROSS JOIN LATERAL (VALUES
            (0, 0, 'hold', 'available', 'held', 40000, false),
            (1, 1, 'spend', 'held', 'spent', s1, true),
            (1, 1, 'overrun', 'operator', 'overrun', 5, true),
            (1, 1, 'release', 'held', 'available', 10000 - s1, false),
            (2, 1, 'unreconciled', 'operator', 'unreconciled', 10000, true),
            (2, 2, 'spend', 'held', 'spent', s2, true),
            (2, 2, 'release', 'held', 'available', 10000 - s2, false),
            (3, 1, 'spend', 'held', 'spent', s3, true),
            (3, 1, 'release', 'held', 'available', 10000 - s3, false),
            (0, 1, 'release', 'held', 'available', 10000, false)
        ) e(number, attempt, kind, source, target, amount, call)
        WHERE NOT (open AND (e.number = 3 OR (e.number, e.attempt) = (0, 1)))
        """,
    "events": """
        INSERT INTO execution_events (execution_id, seq, at, type, data)
        SELECT id, e.seq, at, e.type, '{"state": "running"}'
        FROM plan CROSS JOIN LATERAL (VALUES (1, 'execution.started'),
            (2, CASE WHEN open THEN 'job.succeeded' ELSE 'execution.succeeded' END)) e(seq, type)
        """,
    "budgets": """
        INSERT INTO budgets (id, client_id, scope, scope_key, period_start, period_end, first_day,
            held_nano, spent_nano, unfinished)
        SELECT b.id, client_id, (ARRAY['client', 'key', 'template', 'day'])[min(b.place)], b.id::text,
            min(at), max(at), min(at)::date, sum(CASE WHEN open THEN 20000 ELSE 0 END),
            sum(s1 + s2 + CASE WHEN open THEN 0 ELSE s3 END), count(*) FILTER (WHERE open)
        FROM plan, unnest(budget_ids) WITH ORDINALITY AS b(id, place) GROUP BY b.id, client_id
        """,
    "roll-ups": """
        INSERT INTO daily_usage (day, client_id, template, provider, model, calls, failed_calls, input_units,
            cached_input_units, output_units, cost_nano, operator_nano)
        SELECT (at AT TIME ZONE 'UTC')::date, client_id, template, 'provider', 'model_' || i % 3,
            sum(3 + done), count(*), sum(100 * (2 + done)), sum(40 * (2 + done)), sum(50 * (2 + done)),
            sum(s1 + s2 + done * s3), sum(10005)
        FROM plan CROSS JOIN LATERAL (SELECT CASE WHEN open THEN 0 ELSE 1 END AS done) d
        GROUP BY 1, 2, 3, 5
        """,
}


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What was filled, what the audits took and found, and what should have been found."""

    entries: int
    executions: int
    megabytes: int
    fill_seconds: float
    clean: Report
    planted: tuple[tuple[str, str, int], ...]
    found: tuple[tuple[str, str, int], ...]


async def run(database: Database, entries: int = ENTRIES, *, seed: int = 1) -> Ledger:
    """Fill, rebuild, plant three differences, rebuild again."""
    executions = max(100, round(entries / _PER_EXECUTION))
    connection = await database.own_connection()
    try:
        started = time.monotonic()
        await _fill(connection, executions)
        fill_seconds = time.monotonic() - started
        megabytes = await connection.fetchval("SELECT pg_database_size(current_database()) >> 20")
        clean = await audit(database)
        planted = await _plant(connection, executions, random.Random(seed))
    finally:
        await connection.close()
    dirty = await audit(database)
    return Ledger(
        entries=clean.entries,
        executions=executions,
        megabytes=megabytes,
        fill_seconds=fill_seconds,
        clean=clean,
        planted=tuple(sorted(planted)),
        found=tuple(sorted(map(_told, dirty.differences))),
    )


def _told(found: Difference) -> tuple[str, str, int]:
    return found.check, found.object_id, found.stored - found.rebuilt


async def _fill(connection: "asyncpg.Connection[Any]", executions: int) -> None:
    """Fill every table, without triggers and, where there are many rows, without indexes to keep."""
    await connection.execute("SET session_replication_role = replica")
    await connection.execute("SET work_mem = '256MB'; SET maintenance_work_mem = '1GB'")
    indexes = await connection.fetch(
        """
        SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
        FROM pg_index i WHERE i.indrelid IN ('cost_tracking'::regclass, 'jobs'::regclass)
            AND NOT i.indisunique
        """
    )
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['name']}")
    await connection.execute(_PLAN.replace("$1", str(executions)).replace("$2", str(CLIENTS)))
    for statement in _FILL.values():
        await connection.execute(statement)
    for index in indexes:
        await connection.execute(index["definition"])
    await connection.execute("VACUUM ANALYZE")


async def _plant(
    connection: "asyncpg.Connection[Any]", executions: int, chance: random.Random
) -> list[tuple[str, str, int]]:
    """Change a balance, an execution and an entry, each in a random place; return what is to be found."""
    budget = await connection.fetchval(
        """
        UPDATE budgets SET spent_nano = spent_nano + 3
        WHERE id = (SELECT budget_ids[$2] FROM plan WHERE i = $1) RETURNING id::text
        """,
        chance.randint(1, executions),
        chance.randint(1, 4),
    )
    execution = await connection.fetchval(
        """
        UPDATE executions SET spent_nano = spent_nano - 1
        WHERE id = (SELECT id FROM plan WHERE i = $1) RETURNING id::text
        """,
        chance.randint(1, executions),
    )
    entry = await connection.fetchrow(
        """
        UPDATE cost_tracking c SET amount_nano = amount_nano + 2 FROM plan p
        WHERE p.i = $1 AND c.execution_id = p.id AND c.kind = 'overrun'
        RETURNING concat_ws(' ', (c.at AT TIME ZONE 'UTC')::date, c.client_id, p.template, c.provider,
            c.model)
        """,
        chance.randint(1, executions),
    )
    assert entry is not None
    return [
        ("budget.spent", budget, 3),
        ("execution.spent", execution, -1),
        ("usage.money", f"{entry[0]} operator", -2),
    ]


async def _prove(databases: Databases, asked: argparse.Namespace) -> Proven:
    async with databases.fresh() as database:
        report = await run(database, asked.entries, seed=asked.seed)
    seconds, found = report.clean.seconds, len(report.clean.differences)
    slowest = sorted(report.clean.checks.items(), key=lambda one: -one[1])[:6]
    promises = {
        f"{found} differences were found where there are none": found == 0,
        f"planted were {report.planted}, found {report.found}": report.found == report.planted,
        f"the audit took {seconds:.0f} s, at most {MOST_SECONDS:.0f} are promised": seconds <= MOST_SECONDS,
    }
    rows = {
        "entries": f"{report.entries:,}",
        "executions": f"{report.executions:,}",
        "megabytes": f"{report.megabytes:,}",
        "seconds to fill": f"{report.fill_seconds:.0f}",
        "seconds of the audit, by two connections": f"{seconds:.1f}",
        **{f"of them {check} and what comes with it": f"{taken:.1f}" for check, taken in slowest},
        "differences": found,
        "planted and found": f"{len(report.planted)} and {len(report.found)}",
    }
    return proven(rows, promises=promises)


PROOF = Proof(
    name="ledger",
    shows="every balance rebuilt from 10 million ledger entries, and three differences found",
    needs="10 to 20 minutes, 20 GB of disk",
    options=(Option(name="entries", default=ENTRIES, help="how many `ledger` fills"), SEED),
    run=_prove,
)
