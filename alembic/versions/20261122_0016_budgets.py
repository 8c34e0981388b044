"""Budgets of several scopes, one for each calendar month or day whatever the time zone."""

from alembic import op

revision = "0016"
down_revision = "0015"

# A stored month is known by its first day: its start lies within 14 hours of that day's midnight in UTC.
# Of months that a change of the time zone opened twice, the newer goes on; the older is history (no day).
STATEMENTS = """
CREATE TABLE budget_limits (
    client_id uuid NOT NULL REFERENCES client_resource_limits,
    scope text NOT NULL CONSTRAINT budget_limits_scope CHECK (scope IN ('day', 'key', 'template')),
    scope_key text NOT NULL DEFAULT '',
    limit_nano bigint NOT NULL CONSTRAINT budget_limits_limit CHECK (limit_nano >= 0),
    PRIMARY KEY (client_id, scope, scope_key),
    CONSTRAINT budget_limits_scope_key CHECK ((scope = 'day') = (scope_key = ''))
);

CREATE TABLE budget_heirs (
    scope_key text PRIMARY KEY,
    counts_on text NOT NULL
);

ALTER TABLE budgets ADD COLUMN first_day date;

UPDATE budgets b SET first_day = date_trunc('month', b.period_start AT TIME ZONE 'UTC' + interval '15 hours')
WHERE NOT EXISTS (
    SELECT FROM budgets newer
    WHERE (newer.client_id, newer.scope, newer.scope_key) = (b.client_id, b.scope, b.scope_key)
      AND newer.id > b.id
      AND date_trunc('month', newer.period_start AT TIME ZONE 'UTC' + interval '15 hours')
          = date_trunc('month', b.period_start AT TIME ZONE 'UTC' + interval '15 hours'));

ALTER TABLE budgets
    DROP CONSTRAINT budgets_client_id_scope_scope_key_period_start_key,
    DROP COLUMN limit_nano,
    ADD CONSTRAINT budgets_one_per_period UNIQUE (client_id, scope, scope_key, first_day);

CREATE INDEX executions_client_deadline ON executions (client_id, deadline) WHERE finished_at IS NULL;
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
