"""Accounts: webhook endpoints, deliveries and their attempts."""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = """
ALTER TABLE webhooks
    ADD COLUMN description text NOT NULL DEFAULT '',
    ADD COLUMN previous_secret text,
    ADD COLUMN previous_secret_until timestamptz,
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN disabled_reason text,
    ADD COLUMN deleted_at timestamptz,
    ADD CONSTRAINT webhooks_previous_secret
        CHECK ((previous_secret IS NULL) = (previous_secret_until IS NULL)),
    ADD CONSTRAINT webhooks_disabled CHECK (disabled_reason IS NULL OR NOT active),
    ADD CONSTRAINT webhooks_deleted CHECK (deleted_at IS NULL OR NOT active);

CREATE INDEX webhooks_client ON webhooks (client_id, id DESC) WHERE deleted_at IS NULL;

CREATE INDEX webhooks_gone ON webhooks (id) WHERE deleted_at IS NOT NULL;

DROP TABLE webhook_deliveries;

CREATE TABLE webhook_deliveries (
    id uuid PRIMARY KEY,
    webhook_id uuid NOT NULL REFERENCES webhooks,
    event_type text NOT NULL,
    body text NOT NULL,
    state text NOT NULL CONSTRAINT deliveries_state CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts integer NOT NULL DEFAULT 0 CONSTRAINT deliveries_attempts CHECK (attempts >= 0),
    tries integer NOT NULL DEFAULT 0 CONSTRAINT deliveries_tries CHECK (tries BETWEEN 0 AND attempts),
    next_attempt_at timestamptz,
    created_at timestamptz NOT NULL,
    delivered_at timestamptz,
    CONSTRAINT deliveries_next CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
    CONSTRAINT deliveries_delivered CHECK (state <> 'delivered' OR delivered_at IS NOT NULL)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);

CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id, id DESC);

CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook_id, next_attempt_at)
    WHERE state = 'pending';

CREATE INDEX webhook_deliveries_next ON webhook_deliveries (next_attempt_at) WHERE state = 'pending';

CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (created_at) WHERE state <> 'pending';

CREATE TABLE webhook_attempts (
    delivery_id uuid NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
    number integer NOT NULL CONSTRAINT attempts_number CHECK (number > 0),
    at timestamptz NOT NULL,
    duration_ms integer NOT NULL CONSTRAINT attempts_duration CHECK (duration_ms >= 0),
    status smallint,
    error text,
    excerpt text NOT NULL DEFAULT '',
    PRIMARY KEY (delivery_id, number)
);
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
