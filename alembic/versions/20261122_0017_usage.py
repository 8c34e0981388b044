"""Roll-ups of usage; the ledger's indexes."""

from alembic import op

revision = "0017"
down_revision = "0016"

STATEMENTS = """
ALTER TABLE daily_usage
    ADD COLUMN failed_calls bigint NOT NULL DEFAULT 0,
    ADD COLUMN cached_input_units bigint NOT NULL DEFAULT 0,
    ADD COLUMN operator_nano bigint NOT NULL DEFAULT 0;

ALTER TABLE daily_usage SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX daily_usage_client ON daily_usage (client_id, day);

CREATE INDEX cost_tracking_time ON cost_tracking (at, id);

CREATE INDEX cost_tracking_client ON cost_tracking (client_id, at, id);

CREATE INDEX cost_tracking_rare ON cost_tracking (kind, at, id)
    WHERE kind IN ('top_up', 'overrun', 'waste', 'unreconciled', 'reconciled');

INSERT INTO daily_usage (day, client_id, template, provider, model, calls, failed_calls, input_units,
    cached_input_units, output_units, cost_nano, operator_nano)
SELECT f.day, e.client_id, e.template, f.provider, f.model, sum(f.calls), sum(f.failed_calls), sum(f.input),
       sum(f.cached), sum(f.output), sum(f.cost), sum(f.operator)
FROM (
    SELECT (a.finished_at AT TIME ZONE 'UTC')::date AS day, j.execution_id, a.provider, a.model, 1 AS calls,
           CASE WHEN a.outcome = 'succeeded' THEN 0 ELSE 1 END AS failed_calls,
           coalesce((a.usage ->> 'inputUnits')::bigint, 0) AS input,
           coalesce((a.usage ->> 'cachedInputUnits')::bigint, 0) AS cached,
           coalesce((a.usage ->> 'outputUnits')::bigint, 0) AS output, 0::bigint AS cost, 0::bigint AS operator
    FROM job_attempts a JOIN jobs j ON j.id = a.job_id WHERE a.outcome IS NOT NULL
    UNION ALL
    SELECT (at AT TIME ZONE 'UTC')::date, execution_id, provider, model, 0, 0,
           CASE kind WHEN 'waste' THEN coalesce((usage ->> 'inputUnits')::bigint, 0) ELSE 0 END,
           CASE kind WHEN 'waste' THEN coalesce((usage ->> 'cachedInputUnits')::bigint, 0) ELSE 0 END,
           CASE kind WHEN 'waste' THEN coalesce((usage ->> 'outputUnits')::bigint, 0) ELSE 0 END,
           CASE kind WHEN 'spend' THEN amount_nano ELSE 0 END,
           CASE kind WHEN 'spend' THEN 0 WHEN 'reconciled' THEN -amount_nano ELSE amount_nano END
    FROM cost_tracking WHERE kind IN ('spend', 'overrun', 'waste', 'unreconciled', 'reconciled')
) f JOIN executions e ON e.id = f.execution_id
GROUP BY f.day, e.client_id, e.template, f.provider, f.model
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
