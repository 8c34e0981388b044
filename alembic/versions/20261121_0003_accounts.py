"""Accounts: clients, users, sessions, keys, master templates, requests, webhooks."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = """
CREATE TABLE clients (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    contact text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL
);

CREATE TABLE users (
    id uuid PRIMARY KEY,
    login text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    role text NOT NULL CONSTRAINT users_role CHECK (role IN ('admin', 'support', 'client')),
    client_id uuid REFERENCES clients,
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    CONSTRAINT users_client CHECK ((role = 'client') = (client_id IS NOT NULL))
);

CREATE TABLE user_sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    token_sha256 bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz
);

CREATE INDEX user_sessions_user ON user_sessions (user_id);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    client_id uuid NOT NULL REFERENCES clients,
    name text NOT NULL,
    public_id text NOT NULL UNIQUE,
    secret_sha256 bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);

CREATE INDEX api_keys_client ON api_keys (client_id, id DESC);

CREATE TABLE worker_credentials (
    id uuid PRIMARY KEY,
    worker text NOT NULL UNIQUE,
    secret_sha256 bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE TABLE master_templates (
    id uuid NOT NULL UNIQUE,
    name text NOT NULL,
    version integer NOT NULL CONSTRAINT master_templates_version CHECK (version > 0),
    title text NOT NULL,
    description text NOT NULL,
    flow jsonb NOT NULL,
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE client_requests (
    id uuid PRIMARY KEY,
    client_id uuid NOT NULL REFERENCES clients,
    key_id uuid,
    template text NOT NULL,
    parameters jsonb NOT NULL,
    source_data_id uuid,
    urgency text NOT NULL CONSTRAINT requests_urgency CHECK (urgency IN ('low', 'normal', 'high', 'urgent')),
    accuracy text NOT NULL CONSTRAINT requests_accuracy CHECK (accuracy IN ('normal', 'high')),
    run_after timestamptz,
    deadline timestamptz,
    timeout_ms integer CONSTRAINT requests_timeout CHECK (timeout_ms > 0),
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL
);

CREATE INDEX client_requests_client ON client_requests (client_id, id DESC);

CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    client_id uuid NOT NULL REFERENCES clients,
    url text NOT NULL,
    secret text NOT NULL,
    events text[] NOT NULL,
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL
);

CREATE TABLE webhook_deliveries (
    id uuid PRIMARY KEY,
    webhook_id uuid NOT NULL REFERENCES webhooks,
    event jsonb NOT NULL,
    state text NOT NULL CONSTRAINT deliveries_state CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts smallint NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    created_at timestamptz NOT NULL,
    delivered_at timestamptz
);
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
