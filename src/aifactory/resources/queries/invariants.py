"""What must hold in the books at any moment: plain SQL; each statement returns one row per difference.

A row is (check, object, stored, rebuilt). A statement reads the ledger at most once, and only
groups and hashes.
"""

import msgspec

from aifactory.resources.interface import ExecutionState
from aifactory.resources.ledger import ACCOUNTS


class Invariant(msgspec.Struct, frozen=True, kw_only=True):
    """What holds, in words and as the statement that returns what does not; and the checks that it names."""

    meaning: str
    checks: tuple[str, ...]
    sql: str


_HELD = """sum(CASE 'held' WHEN to_account THEN amount_nano WHEN from_account THEN -amount_nano ELSE 0 END)"""
_SPENT = (
    """sum(CASE 'spent' WHEN to_account THEN amount_nano WHEN from_account THEN -amount_nano ELSE 0 END)"""
)
_MOVES = ",\n        ".join(f"('{kind}', '{frm}', '{to}')" for kind, (frm, to) in ACCOUNTS.items())
_ENDS = ", ".join(f"'execution.{state}'" for state in ExecutionState if state.final)

# The one that takes longest comes first: whoever shares the work ends at about the same time.
LEDGER = (
    Invariant(
        meaning="Usage by day, client, template, provider and model: its money is the ledger's, its calls and"
        " units are those of the attempts that ended, and of answers that came too late.",
        checks=("usage.calls", "usage.units", "usage.money"),
        sql="""
SELECT f."check", concat_ws(' ', coalesce(d.day, l.day), coalesce(d.client_id, l.client_id),
           coalesce(d.template, l.template), coalesce(d.provider, l.provider), coalesce(d.model, l.model))
           || ' ' || f.figure AS object, f.stored, f.rebuilt
FROM daily_usage d FULL JOIN (
    SELECT day, client_id, template, provider, model, sum(calls) AS calls, sum(failed) AS failed,
           sum(input) AS input, sum(cached) AS cached, sum(output) AS output, sum(cost) AS cost,
           sum(operator) AS operator
    FROM (
        SELECT (a.finished_at AT TIME ZONE 'UTC')::date AS day, e.client_id, e.template, a.provider, a.model,
               count(*) AS calls, count(*) FILTER (WHERE a.outcome <> 'succeeded') AS failed,
               sum((a.usage ->> 'inputUnits')::bigint) AS input,
               sum((a.usage ->> 'cachedInputUnits')::bigint) AS cached,
               sum((a.usage ->> 'outputUnits')::bigint) AS output, 0 AS cost, 0 AS operator
        FROM job_attempts a JOIN jobs j ON j.id = a.job_id JOIN executions e ON e.id = j.execution_id
        WHERE a.outcome IS NOT NULL
        GROUP BY 1, 2, 3, 4, 5
        UNION ALL
        SELECT (c.at AT TIME ZONE 'UTC')::date, c.client_id, e.template, c.provider, c.model, 0, 0,
               sum((c.usage ->> 'inputUnits')::bigint) FILTER (WHERE c.kind = 'waste'),
               sum((c.usage ->> 'cachedInputUnits')::bigint) FILTER (WHERE c.kind = 'waste'),
               sum((c.usage ->> 'outputUnits')::bigint) FILTER (WHERE c.kind = 'waste'),
               sum(CASE 'spent' WHEN c.to_account THEN c.amount_nano WHEN c.from_account THEN -c.amount_nano
                   ELSE 0 END),
               sum(CASE 'operator' WHEN c.from_account THEN c.amount_nano
                   WHEN c.to_account THEN -c.amount_nano ELSE 0 END)
        FROM cost_tracking c JOIN executions e ON e.id = c.execution_id
        WHERE 'spent' IN (c.from_account, c.to_account) OR 'operator' IN (c.from_account, c.to_account)
        GROUP BY 1, 2, 3, 4, 5
    ) s
    GROUP BY day, client_id, template, provider, model
) l ON (l.day, l.client_id, l.template, l.provider, l.model)
     = (d.day, d.client_id, d.template, d.provider, d.model)
CROSS JOIN LATERAL (VALUES
    ('usage.calls', 'calls', coalesce(d.calls, 0), coalesce(l.calls, 0)),
    ('usage.calls', 'failed', coalesce(d.failed_calls, 0), coalesce(l.failed, 0)),
    ('usage.units', 'input', coalesce(d.input_units, 0), coalesce(l.input, 0)),
    ('usage.units', 'cached', coalesce(d.cached_input_units, 0), coalesce(l.cached, 0)),
    ('usage.units', 'output', coalesce(d.output_units, 0), coalesce(l.output, 0)),
    ('usage.money', 'cost', coalesce(d.cost_nano, 0), coalesce(l.cost, 0)),
    ('usage.money', 'operator', coalesce(d.operator_nano, 0), coalesce(l.operator, 0))
) f("check", figure, stored, rebuilt)
WHERE f.stored <> f.rebuilt""",
    ),
    Invariant(
        meaning="Every entry moves its amount between the two accounts of its kind.",
        checks=("ledger.accounts",),
        sql=f"""
SELECT 'ledger.accounts' AS "check", kind || ': ' || from_account || ' to ' || to_account AS object,
       count(*) AS stored, 0 AS rebuilt
FROM cost_tracking
GROUP BY kind, from_account, to_account
HAVING (kind, from_account, to_account) NOT IN (
        {_MOVES})""",
    ),
    Invariant(
        meaning="The database itself refuses a second entry for the same thing, and any change of an entry.",
        checks=("ledger.sealed",),
        sql="""
SELECT 'ledger.sealed' AS "check", f.object, f.stored, 1 AS rebuilt
FROM (
    SELECT 'unique (subject_id, attempt, kind)' AS object, count(*) AS stored FROM pg_index
    WHERE indrelid = 'cost_tracking'::regclass AND indisunique AND indisvalid
      AND pg_get_indexdef(indexrelid) LIKE '%(subject_id, attempt, kind)'
    UNION ALL
    SELECT 'trigger cost_tracking_append_only', count(*) FROM pg_trigger
    WHERE tgrelid = 'cost_tracking'::regclass AND tgname = 'cost_tracking_append_only'
      AND tgenabled IN ('O', 'A')
) f
WHERE f.stored <> 1""",
    ),
    Invariant(
        meaning="An execution's hold is its free part and its jobs' parts; its hold and its spend are the"
        " ledger's, on its own client and on all of its budgets. A budget, of whatever scope, holds and has"
        " spent what the ledger says.",
        checks=("execution.held", "execution.spent", "ledger.owner", "budget.held", "budget.spent"),
        sql=f"""
WITH sums AS MATERIALIZED (
    SELECT execution_id, client_id, budget_ids,
           {_HELD} AS held,
           {_SPENT} AS spent
    FROM cost_tracking GROUP BY execution_id, client_id, budget_ids
)
SELECT f."check", coalesce(e.id, l.execution_id)::text AS object, f.stored, f.rebuilt
FROM executions e FULL JOIN sums l ON l.execution_id = e.id
LEFT JOIN (
    SELECT execution_id, sum(hold_nano) AS held FROM jobs WHERE hold_nano > 0 GROUP BY execution_id
) j ON j.execution_id = e.id
CROSS JOIN LATERAL (VALUES
    ('execution.held', coalesce(e.free_hold_nano, 0) + coalesce(j.held, 0), coalesce(l.held, 0)),
    ('execution.spent', coalesce(e.spent_nano, 0), coalesce(l.spent, 0)),
    ('ledger.owner', coalesce((l.client_id = e.client_id AND l.budget_ids = e.budget_ids)::int,
        (l.execution_id IS NULL)::int), 1)
) f("check", stored, rebuilt)
WHERE f.stored <> f.rebuilt
UNION ALL
SELECT f."check", coalesce(b.id, l.budget_id)::text, f.stored, f.rebuilt
FROM budgets b FULL JOIN (
    SELECT budget_id, sum(held) AS held, sum(spent) AS spent
    FROM (SELECT budget_ids, sum(held) AS held, sum(spent) AS spent FROM sums GROUP BY budget_ids) together,
         unnest(budget_ids) AS budget_id
    GROUP BY budget_id
) l ON l.budget_id = b.id
CROSS JOIN LATERAL (VALUES
    ('budget.held', coalesce(b.held_nano, 0), coalesce(l.held, 0)),
    ('budget.spent', coalesce(b.spent_nano, 0), coalesce(l.spent, 0))
) f("check", stored, rebuilt)
WHERE f.stored <> f.rebuilt""",
    ),
    Invariant(
        meaning="A job has cost what the ledger spent on it.",
        checks=("job.cost",),
        sql=f"""
SELECT 'job.cost' AS "check", coalesce(j.id, l.subject_id)::text AS object,
       coalesce(j.cost_nano, 0) AS stored, coalesce(l.spent, 0) AS rebuilt
FROM (SELECT id, cost_nano FROM jobs WHERE cost_nano > 0) j FULL JOIN (
    SELECT subject_id, {_SPENT} AS spent
    FROM cost_tracking WHERE 'spent' IN (from_account, to_account) GROUP BY subject_id
) l ON l.subject_id = j.id
WHERE coalesce(j.cost_nano, 0) <> coalesce(l.spent, 0)""",
    ),
)

WORK = (
    Invariant(
        meaning="A budget counts the unfinished executions that hold on it.",
        checks=("budget.unfinished",),
        sql="""
SELECT 'budget.unfinished' AS "check", coalesce(b.id, e.budget_id)::text AS object,
       coalesce(b.unfinished, 0) AS stored, coalesce(e.unfinished, 0) AS rebuilt
FROM budgets b FULL JOIN (
    SELECT budget_id, count(*) AS unfinished FROM executions, unnest(budget_ids) AS budget_id
    WHERE finished_at IS NULL GROUP BY budget_id
) e ON e.budget_id = b.id
WHERE coalesce(b.unfinished, 0) <> coalesce(e.unfinished, 0)""",
    ),
    Invariant(
        meaning="An execution's budgets are there, are its client's, and exactly one of them is the client's"
        " month.",
        checks=("execution.budgets",),
        sql="""
SELECT 'execution.budgets' AS "check", e.execution_id AS object, count(b.id) AS stored,
       cardinality(e.budget_ids) AS rebuilt
FROM (SELECT client_id, budget_ids, min(id::text) AS execution_id FROM executions
      GROUP BY client_id, budget_ids) e
LEFT JOIN LATERAL (SELECT DISTINCT budget_id FROM unnest(e.budget_ids) AS budget_id) named ON true
LEFT JOIN budgets b ON b.id = named.budget_id AND b.client_id = e.client_id
GROUP BY e.execution_id, e.budget_ids
HAVING count(b.id) <> cardinality(e.budget_ids) OR count(*) FILTER (WHERE b.scope = 'client') <> 1""",
    ),
    Invariant(
        meaning="The free part of a hold is what its open lines reserve; what is done and to be done are the"
        " jobs that ended, and all jobs and places in lines.",
        checks=("execution.free_hold", "execution.jobs_done", "execution.jobs_total"),
        sql="""
SELECT f."check", e.id::text AS object, f.stored, f.rebuilt
FROM executions e
LEFT JOIN (
    SELECT execution_id, sum(remaining) AS places, sum(remaining * worst_nano) AS reserved
    FROM execution_lines WHERE remaining > 0 GROUP BY execution_id
) l ON l.execution_id = e.id
LEFT JOIN (
    SELECT execution_id, count(*) AS opened, count(finished_at) AS done FROM jobs GROUP BY execution_id
) j ON j.execution_id = e.id
CROSS JOIN LATERAL (VALUES
    ('execution.free_hold', e.free_hold_nano, coalesce(l.reserved, 0)),
    ('execution.jobs_done', e.jobs_done::bigint, coalesce(j.done, 0)),
    ('execution.jobs_total', e.jobs_total::bigint, coalesce(j.opened, 0) + coalesce(l.places, 0))
) f("check", stored, rebuilt)
WHERE f.stored <> f.rebuilt""",
    ),
    Invariant(
        meaning="An execution ends once, or not yet. Events that retention has taken away are not missed.",
        checks=("execution.one_end",),
        sql=f"""
SELECT 'execution.one_end' AS "check", e.id::text AS object,
       CASE WHEN e.finished_at IS NULL THEN 0 ELSE 1 END AS stored, v.ends AS rebuilt
FROM executions e JOIN (
    SELECT execution_id,
           count(*) FILTER (WHERE type IN ({_ENDS})) AS ends
    FROM execution_events GROUP BY execution_id
) v ON v.execution_id = e.id
WHERE v.ends <> CASE WHEN e.finished_at IS NULL THEN 0 ELSE 1 END""",
    ),
    Invariant(
        meaning="A stage counts its open jobs: the fan-in waits for exactly these.",
        checks=("stage.open_jobs",),
        sql="""
SELECT 'stage.open_jobs' AS "check", s.id::text AS object, s.open_jobs AS stored,
       coalesce(j.open, 0) AS rebuilt
FROM stage_executions s LEFT JOIN (
    SELECT stage_id, count(*) AS open FROM jobs WHERE finished_at IS NULL GROUP BY stage_id
) j ON j.stage_id = s.id
WHERE s.open_jobs <> coalesce(j.open, 0)""",
    ),
    Invariant(
        meaning="A job that is to run is at exactly one place: ready, due later, or running.",
        checks=("job.queued_once",),
        sql="""
SELECT 'job.queued_once' AS "check", j.id::text AS object, count(p.job_id) AS stored, 1 AS rebuilt
FROM jobs j LEFT JOIN (
    SELECT job_id FROM resource_queue UNION ALL SELECT job_id FROM queue_due
    UNION ALL SELECT job_id FROM running_jobs
) p ON p.job_id = j.id
WHERE j.state IN ('ready', 'scheduled', 'running') AND j.finished_at IS NULL
GROUP BY j.id HAVING count(p.job_id) <> 1""",
    ),
    Invariant(
        meaning="What waits in a queue is an open job, and what runs is a job.",
        checks=("queue.job_open",),
        sql="""
SELECT 'queue.job_open' AS "check", p.job_id::text AS object, 1 AS stored, 0 AS rebuilt
FROM (
    SELECT job_id, true AS waits FROM resource_queue UNION ALL SELECT job_id, true FROM queue_due
    UNION ALL SELECT job_id, false FROM running_jobs
) p LEFT JOIN jobs j ON j.id = p.job_id
WHERE j.id IS NULL OR (p.waits AND j.state NOT IN ('ready', 'scheduled'))""",
    ),
    Invariant(
        meaning="What is ready waits in a lane that is there.",
        checks=("queue.lane_exists",),
        sql="""
SELECT 'queue.lane_exists' AS "check", q.job_id::text AS object, 1 AS stored, 0 AS rebuilt
FROM resource_queue q LEFT JOIN lanes l ON l.id = q.lane_id WHERE l.id IS NULL""",
    ),
    Invariant(
        meaning="No client runs more than its cap, unless a client or a tier was changed since the oldest of"
        " its running jobs began: a cap may be lowered below what runs.",
        checks=("client.running",),
        sql="""
SELECT 'client.running' AS "check", r.client_id::text AS object, r.running AS stored,
       coalesce(c.max_running, t.max_running) AS rebuilt
FROM (SELECT client_id, count(*) AS running, min(started_at) AS since FROM running_jobs
      GROUP BY client_id) r
JOIN client_resource_limits c ON c.client_id = r.client_id JOIN tiers t ON t.tier = c.tier
WHERE r.running > coalesce(c.max_running, t.max_running) AND NOT EXISTS (
    SELECT FROM audit_log a WHERE a.at >= r.since - interval '1 minute'
        AND a.object_kind IN ('client', 'limits', 'tier'))""",
    ),
    Invariant(
        meaning="A quota has used what the starts of its period took: an estimate for what runs and for what"
        " ended unknown, else what was used. It counts on the period in which it was claimed, and that may be"
        " a moment before its call began: what began around a start or an end may belong to another period.",
        checks=("quota.used",),
        sql="""
SELECT 'quota.used' AS "check", concat_ws(' ', q.client_id, q.pool, q.period) AS object,
       q.units_used AS stored, coalesce(s.units, 0) AS rebuilt
FROM quotas q LEFT JOIN (
    SELECT client_id, pool, period, sum(units) AS units,
           coalesce(sum(units) FILTER (WHERE started_at < period_start + interval '1 minute'
               OR started_at >= period_end), 0) AS uncertain
    FROM (
        SELECT q.client_id, q.pool, q.period, q.period_start, q.period_end, r.started_at,
               CASE WHEN r.pool = q.pool THEN r.units ELSE 0 END
               + coalesce((r.needs ->> q.pool)::bigint, 0) AS units
        FROM quotas q JOIN running_jobs r ON r.client_id = q.client_id
            AND r.started_at >= q.period_start - interval '5 seconds'
            AND r.started_at < q.period_end + interval '1 minute'
        UNION ALL
        SELECT q.client_id, q.pool, q.period, q.period_start, q.period_end, a.started_at,
               CASE WHEN a.pool = q.pool THEN coalesce((a.usage ->> 'inputUnits')::bigint
                   + (a.usage ->> 'outputUnits')::bigint, j.input_bound + j.output_limit) ELSE 0 END
               + coalesce((j.needs ->> q.pool)::bigint, 0)
        FROM quotas q JOIN jobs j ON j.client_id = q.client_id
        JOIN job_attempts a ON a.job_id = j.id AND a.outcome IS NOT NULL
            AND a.started_at >= q.period_start - interval '5 seconds'
            AND a.started_at < q.period_end + interval '1 minute'
    ) u GROUP BY client_id, pool, period
) s ON (s.client_id, s.pool, s.period) = (q.client_id, q.pool, q.period)
WHERE q.units_used > coalesce(s.units, 0) OR q.units_used < s.units - s.uncertain""",
    ),
    Invariant(
        meaning="No pool holds more units or request slots than it can.",
        checks=("pool.level",),
        sql="""
SELECT 'pool.level' AS "check", p.pool || ' ' || f.figure AS object, f.stored, f.most AS rebuilt
FROM resource_pools p CROSS JOIN LATERAL (VALUES
    ('units', p.level_micro, p.capacity * 1000000),
    ('requests', p.requests_micro, coalesce(p.requests_per_minute, 0)::bigint * 1000000)
) f(figure, stored, most)
WHERE f.stored > f.most""",
    ),
)

INVARIANTS = LEDGER + WORK
