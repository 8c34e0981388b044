"""Resources: what every process of the fleet says of itself."""

from alembic import op

revision = "0014"
down_revision = "0013"

STATEMENTS = """
ALTER TABLE processes
    ADD COLUMN version text NOT NULL DEFAULT '',
    ADD COLUMN loops jsonb NOT NULL DEFAULT '{}';

CREATE INDEX client_pool_usage_active ON client_pool_usage (client_id) WHERE active;
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
