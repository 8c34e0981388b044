"""What a fleet did, noted by the database itself: every change of a pool, a budget, a running row, in order.

Triggers note the changes with their transaction. A pool's and a budget's changes come in their true order,
since each holds the row's lock until it commits; what was rolled back leaves nothing.
"""

from typing import Any
from uuid import UUID

import asyncpg
import msgspec

INSTALL = """
CREATE TABLE fact_pools (
    id bigserial PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), pool text NOT NULL,
    old_capacity bigint, capacity bigint, old_refill bigint, refill bigint, per_minute bigint,
    old_level bigint, level bigint, old_requests bigint, requests bigint,
    old_as_of timestamptz, as_of timestamptz, edited boolean);

CREATE TABLE fact_runs (
    id bigserial PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), began boolean NOT NULL,
    token uuid NOT NULL, job_id uuid NOT NULL, attempt int NOT NULL, client_id uuid NOT NULL,
    process_id uuid NOT NULL, local boolean NOT NULL, pool text NOT NULL, units bigint NOT NULL,
    needs jsonb NOT NULL, started_at timestamptz NOT NULL);

CREATE TABLE fact_quotas (
    id bigserial PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), client_id uuid NOT NULL,
    pool text NOT NULL, period text NOT NULL, units_limit bigint, old_used numeric, used numeric,
    old_start timestamptz, period_start timestamptz, period_end timestamptz);

CREATE TABLE fact_budgets (
    id bigserial PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), budget_id uuid NOT NULL,
    old_held bigint, held bigint, old_spent bigint, spent bigint);

CREATE FUNCTION note_pool() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO fact_pools (pool, old_capacity, capacity, old_refill, refill, per_minute, old_level, level,
        old_requests, requests, old_as_of, as_of, edited)
    VALUES (NEW.pool, OLD.capacity, NEW.capacity, OLD.refill_per_second, NEW.refill_per_second,
        NEW.requests_per_minute, OLD.level_micro, NEW.level_micro, OLD.requests_micro, NEW.requests_micro,
        OLD.as_of, NEW.as_of, (OLD.capacity, OLD.refill_per_second, OLD.requests_per_minute)
            IS DISTINCT FROM (NEW.capacity, NEW.refill_per_second, NEW.requests_per_minute));
    RETURN NULL; END $$;

CREATE FUNCTION note_run() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE one running_jobs; BEGIN
    one := CASE WHEN TG_OP = 'INSERT' THEN NEW ELSE OLD END;
    INSERT INTO fact_runs (began, token, job_id, attempt, client_id, process_id, local, pool, units, needs,
        started_at)
    VALUES (TG_OP = 'INSERT', one.token, one.job_id, one.attempt, one.client_id, one.process_id, one.local,
        one.pool, one.units, coalesce(to_jsonb(one) -> 'needs', '{}'::jsonb), one.started_at);
    RETURN NULL; END $$;

CREATE FUNCTION note_budget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO fact_budgets (budget_id, old_held, held, old_spent, spent)
    VALUES (NEW.id, OLD.held_nano, NEW.held_nano, OLD.spent_nano, NEW.spent_nano);
    RETURN NULL; END $$;

CREATE FUNCTION note_quota() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO fact_quotas (client_id, pool, period, units_limit, old_used, used, old_start, period_start,
        period_end)
    VALUES (NEW.client_id, NEW.pool, NEW.period, NEW.units_limit, OLD.units_used, NEW.units_used,
        OLD.period_start, NEW.period_start, NEW.period_end);
    RETURN NULL; END $$;

CREATE TRIGGER note_quota AFTER UPDATE ON quotas FOR EACH ROW
    WHEN ((OLD.units_used, OLD.period_start) IS DISTINCT FROM (NEW.units_used, NEW.period_start))
    EXECUTE FUNCTION note_quota();

CREATE TRIGGER note_pool AFTER UPDATE ON resource_pools FOR EACH ROW EXECUTE FUNCTION note_pool();

CREATE TRIGGER note_run AFTER INSERT OR DELETE ON running_jobs FOR EACH ROW EXECUTE FUNCTION note_run();

CREATE TRIGGER note_budget AFTER UPDATE ON budgets FOR EACH ROW
    WHEN ((OLD.held_nano, OLD.spent_nano) IS DISTINCT FROM (NEW.held_nano, NEW.spent_nano))
    EXECUTE FUNCTION note_budget()
"""


class PoolFact(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a pool's row, times in microseconds; ``edited``: an operator's."""

    id: int
    xid: int
    pool: str
    old_capacity: int
    capacity: int
    old_refill: int
    refill: int
    per_minute: int | None
    old_level: int
    level: int
    old_requests: int
    requests: int
    old_as_of: int
    as_of: int
    edited: bool


class RunFact(msgspec.Struct, frozen=True, kw_only=True):
    """A running row that came, or went with what its attempt had used; ``known``: it had been begun.

    ``at`` is the transaction's commit in microseconds, where the server keeps it; else 0.
    """

    id: int
    xid: int
    began: bool
    token: UUID
    job_id: UUID
    attempt: int
    client_id: UUID
    process_id: UUID
    local: bool
    pool: str
    units: int
    needs: dict[str, int]
    started_at: int
    known: bool
    succeeded: bool
    used: int | None
    at: int


class QuotaFact(msgspec.Struct, frozen=True, kw_only=True):
    """One change of what a client used of a pool in a period, times in microseconds."""

    id: int
    xid: int
    client_id: UUID
    pool: str
    period: str
    units_limit: int
    old_used: int
    used: int
    old_start: int
    period_start: int
    period_end: int


class BudgetFact(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a budget's amounts, nano-dollars."""

    id: int
    xid: int
    budget_id: UUID
    old_held: int
    held: int
    old_spent: int
    spent: int


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was noted since the last reading, each kind in its order."""

    pools: list[PoolFact]
    runs: list[RunFact]
    budgets: list[BudgetFact]
    quotas: list[QuotaFact] = []


async def install(connection: "asyncpg.Connection[Any]") -> None:
    """Make the database note what is done in it from now on."""
    for statement in INSTALL.split(";\n\n"):
        await connection.execute(statement)


async def take(connection: "asyncpg.Connection[Any]", *, dated: bool = False) -> Facts:
    """Take what was noted by now, and forget it there.

    Of each pool and budget that is a beginning of what is still to come: who changes one next waits for the
    last one's commit.

    ``dated``: also when runs were committed (needs ``track_commit_timestamp``).
    """
    at = "extract(epoch FROM pg_xact_commit_timestamp(f.xid::text::bigint::text::xid)) * 1000000"
    async with connection.transaction(isolation="repeatable_read"):
        pools = await connection.fetch(
            """
            DELETE FROM fact_pools
            RETURNING id, xid::text::bigint AS xid, pool, old_capacity, capacity, old_refill, refill,
                per_minute, old_level, level, old_requests, requests,
                (extract(epoch FROM old_as_of) * 1000000)::bigint AS old_as_of,
                (extract(epoch FROM as_of) * 1000000)::bigint AS as_of, edited
            """
        )
        runs = await connection.fetch(
            f"""
            WITH f AS (DELETE FROM fact_runs RETURNING *)
            SELECT f.id, f.xid::text::bigint AS xid, f.began, f.token, f.job_id, f.attempt, f.client_id,
                f.process_id, f.local, f.pool, f.units, f.needs::text AS needs,
                (extract(epoch FROM f.started_at) * 1000000)::bigint AS started_at,
                a.token IS NOT NULL AS known,
                coalesce(a.outcome = 'succeeded', false) AS succeeded,
                (a.usage ->> 'inputUnits')::bigint + (a.usage ->> 'outputUnits')::bigint AS used,
                ({at if dated else "0"})::bigint AS at
            FROM f LEFT JOIN job_attempts a ON a.job_id = f.job_id AND a.attempt = f.attempt
                AND a.token = f.token AND NOT f.began
            """
        )
        budgets = await connection.fetch(
            """
            DELETE FROM fact_budgets
            RETURNING id, xid::text::bigint AS xid, budget_id, old_held, held, old_spent, spent
            """
        )
        quotas = await connection.fetch(
            """
            DELETE FROM fact_quotas
            RETURNING id, xid::text::bigint AS xid, client_id, pool, period, units_limit,
                old_used::bigint AS old_used, used::bigint AS used,
                (extract(epoch FROM old_start) * 1000000)::bigint AS old_start,
                (extract(epoch FROM period_start) * 1000000)::bigint AS period_start,
                (extract(epoch FROM period_end) * 1000000)::bigint AS period_end
            """
        )
    return Facts(
        pools=sorted((PoolFact(**dict(row)) for row in pools), key=lambda fact: fact.id),
        runs=sorted((_run(row) for row in runs), key=lambda fact: fact.id),
        budgets=sorted((BudgetFact(**dict(row)) for row in budgets), key=lambda fact: fact.id),
        quotas=sorted((QuotaFact(**dict(row)) for row in quotas), key=lambda fact: fact.id),
    )


def _run(row: Any) -> RunFact:
    values = dict(row)
    values["needs"] = msgspec.json.decode(values["needs"], type=dict[str, int] | None) or {}
    return RunFact(**values)
