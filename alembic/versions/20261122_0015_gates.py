"""Gates: needs of several pools, quotas of clients."""

from alembic import op

revision = "0015"
down_revision = "0014"

STATEMENTS = """
ALTER TABLE execution_lines ADD COLUMN needs jsonb NOT NULL DEFAULT '{}';

ALTER TABLE jobs ADD COLUMN needs jsonb NOT NULL DEFAULT '{}';

ALTER TABLE running_jobs ADD COLUMN needs jsonb;

ALTER TABLE quotas
    ADD COLUMN period_end timestamptz NOT NULL,
    ADD CONSTRAINT quotas_limit CHECK (units_limit >= 0),
    ADD CONSTRAINT quotas_used CHECK (units_used >= 0),
    ADD CONSTRAINT quotas_period_order CHECK (period_start < period_end),
    DROP CONSTRAINT quotas_pool_fkey,
    ADD CONSTRAINT quotas_pool_fkey FOREIGN KEY (pool) REFERENCES resource_pools ON DELETE CASCADE;

ALTER TABLE quotas SET (fillfactor = 50);
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
