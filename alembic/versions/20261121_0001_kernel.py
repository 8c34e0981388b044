"""Kernel: audit log and idempotency keys."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = """
CREATE TABLE audit_log (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    object_kind text NOT NULL,
    object_id text NOT NULL,
    before jsonb,
    after jsonb
);

CREATE TABLE idempotency_keys (
    scope text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    body_sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL,
    status smallint,
    location text,
    body jsonb,
    PRIMARY KEY (scope, route, key)
);

CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
