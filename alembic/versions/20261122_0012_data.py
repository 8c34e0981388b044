"""Resources: data references, and work that other programs start."""

from alembic import op

revision = "0012"
down_revision = "0011"

STATEMENTS = """
ALTER TABLE data_references
    ADD COLUMN kind text NOT NULL DEFAULT 'source'
        CONSTRAINT data_kind CHECK (kind IN ('upload', 'source', 'step')),
    ADD COLUMN stored_bytes bigint GENERATED ALWAYS AS (octet_length(content)) STORED;

UPDATE data_references SET kind = 'step' WHERE expires_at IS NOT NULL;

ALTER TABLE data_references ALTER COLUMN kind DROP DEFAULT;

CREATE INDEX data_references_client ON data_references (client_id, id DESC) INCLUDE (kind, stored_bytes)
    WHERE kind <> 'step';

CREATE INDEX stage_executions_source ON stage_executions ((inputs ->> 'source'))
    WHERE finished_at IS NULL AND inputs ->> 'source' IS NOT NULL;

ALTER TABLE client_requests ADD COLUMN flow jsonb;

DROP TABLE handshakes;

CREATE TABLE handshakes (
    id uuid PRIMARY KEY,
    scope text NOT NULL,
    name text NOT NULL,
    body_sha256 bytea NOT NULL,
    execution_id uuid NOT NULL UNIQUE REFERENCES executions,
    timeout_ms integer NOT NULL CONSTRAINT handshakes_timeout CHECK (timeout_ms > 0),
    answer jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    processed_at timestamptz
);

CREATE INDEX handshakes_name ON handshakes (scope, name, id DESC);

CREATE INDEX handshakes_expiry ON handshakes (expires_at);
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
