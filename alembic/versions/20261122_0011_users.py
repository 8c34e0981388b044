"""Accounts: users, sessions, counted attempts, worker credentials."""

from alembic import op

revision = "0011"
down_revision = "0010"

STATEMENTS = """
ALTER TABLE users ADD COLUMN password_version integer NOT NULL DEFAULT 1;

CREATE INDEX users_client ON users (client_id) WHERE client_id IS NOT NULL;

CREATE INDEX user_sessions_end ON user_sessions (expires_at);

CREATE TABLE login_attempts (
    key bytea PRIMARY KEY,
    free_at timestamptz NOT NULL,
    known_until timestamptz
);

CREATE INDEX login_attempts_end ON login_attempts (greatest(free_at, known_until));

ALTER TABLE worker_credentials
    DROP CONSTRAINT worker_credentials_worker_key,
    ADD COLUMN public_id text NOT NULL UNIQUE,
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN replaced_at timestamptz,
    ADD COLUMN last_used_at timestamptz,
    ADD CONSTRAINT worker_credentials_scopes CHECK (scopes <@ ARRAY['execute', 'result', 'reserve']),
    ADD CONSTRAINT worker_credentials_replaced CHECK (replaced_at IS NULL OR expires_at IS NOT NULL);

CREATE UNIQUE INDEX worker_credentials_current ON worker_credentials (worker)
    WHERE revoked_at IS NULL AND replaced_at IS NULL;
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
