"""Retention and erasure of content; the history in monthly parts."""

from alembic import op

revision = "0019"
down_revision = "0018"

STATEMENTS = """
UPDATE tiers SET retention_days = 1 WHERE retention_days < 1;

ALTER TABLE tiers ADD CONSTRAINT tiers_retention CHECK (retention_days > 0);

ALTER TABLE client_resource_limits
    ADD COLUMN erase_before timestamptz,
    ADD COLUMN cancel_before timestamptz,
    ADD CONSTRAINT client_limits_cancel CHECK (cancel_before <= erase_before);

ALTER TABLE executions
    ADD COLUMN erased_at timestamptz,
    ADD COLUMN erasure text CONSTRAINT executions_erasure CHECK (erasure IN ('retention', 'request')),
    ADD CONSTRAINT executions_erased CHECK ((erased_at IS NULL) = (erasure IS NULL)),
    ADD CONSTRAINT executions_erased_when_final CHECK (erased_at IS NULL OR finished_at IS NOT NULL);

CREATE INDEX executions_unerased ON executions (client_id, created_at) WHERE erased_at IS NULL;

CREATE INDEX stage_executions_sources ON stage_executions ((inputs ->> 'source'))
    WHERE inputs ->> 'source' IS NOT NULL;

ALTER TABLE data_references
    ADD COLUMN erased_at timestamptz,
    ADD COLUMN erasure text CONSTRAINT data_erasure CHECK (erasure IN ('retention', 'request')),
    ADD CONSTRAINT data_erased CHECK ((erased_at IS NULL) = (erasure IS NULL)),
    ADD CONSTRAINT data_empty_when_erased CHECK (erased_at IS NULL OR octet_length(content) = 0);

CREATE INDEX data_references_uploads ON data_references (client_id, created_at)
    WHERE kind = 'upload' AND erased_at IS NULL;

CREATE INDEX response_cache_client ON response_cache (client_id);

ALTER TABLE client_requests
    ADD COLUMN executed boolean NOT NULL DEFAULT true,
    ADD COLUMN erased_at timestamptz,
    ADD COLUMN erasure text CONSTRAINT requests_erasure CHECK (erasure IN ('retention', 'request')),
    ADD CONSTRAINT requests_erased CHECK ((erased_at IS NULL) = (erasure IS NULL));

UPDATE client_requests r SET executed = false
WHERE NOT EXISTS (SELECT FROM executions e WHERE e.request_id = r.id);

CREATE INDEX client_requests_drafts ON client_requests (client_id, created_at)
    WHERE NOT executed AND erased_at IS NULL;

CREATE INDEX client_requests_source ON client_requests (source_data_id) WHERE source_data_id IS NOT NULL;

CREATE INDEX webhook_deliveries_kept ON webhook_deliveries (webhook_id, created_at) WHERE body <> '{}';

ALTER TABLE granulation_trees
    ADD COLUMN erased_at timestamptz,
    ADD COLUMN erasure text CONSTRAINT trees_erasure CHECK (erasure IN ('retention', 'request')),
    ADD CONSTRAINT trees_erased CHECK ((erased_at IS NULL) = (erasure IS NULL));

CREATE TABLE retention_rounds (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT retention_rounds_only_row CHECK (only_row),
    began_at timestamptz
);

INSERT INTO retention_rounds DEFAULT VALUES;

DO $$
DECLARE
    parent text;
    first timestamptz;
    named text;
    taken boolean;
BEGIN
    FOREACH parent IN ARRAY ARRAY['execution_events', 'performance_metrics'] LOOP
        FOR ahead IN 0..2 LOOP
            first := (date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')
                + make_interval(months => ahead)) AT TIME ZONE 'UTC';
            named := parent || to_char(first AT TIME ZONE 'UTC', '"_"YYYY"_"MM');
            EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE at >= %L)', parent || '_default', first)
                INTO taken;
            IF NOT taken THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', named, parent,
                    first, (first AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
            END IF;
        END LOOP;
    END LOOP;
END
$$;
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
