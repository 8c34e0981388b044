"""The audit log: read, kept from changes, with public ids; the counts of API requests."""

from alembic import op

revision = "0018"
down_revision = "0017"

STATEMENTS = """
ALTER TABLE audit_log
    ADD COLUMN client_id text,
    ADD COLUMN request_id text;

CREATE FUNCTION pg_temp.public_id(prefix text, value uuid) RETURNS text LANGUAGE sql AS $$
    SELECT prefix || '_' || string_agg(
        substr('0123456789abcdefghijklmnopqrstuv',
               substring(B'00' || ('x' || replace(value::text, '-', ''))::bit(128) from place for 5)
                   ::bit(5)::integer + 1, 1),
        '' ORDER BY place)
    FROM generate_series(1, 126, 5) AS place
$$;

UPDATE audit_log SET actor = pg_temp.public_id(split_part(actor, ':', 1), split_part(actor, ':', 2)::uuid)
WHERE actor ~ '^(user|client):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';

UPDATE audit_log SET client_id = CASE WHEN object_kind = 'client' THEN object_id
    ELSE coalesce(after ->> 'client', before ->> 'client') END;

UPDATE scheduler_control
SET changed_by = pg_temp.public_id(split_part(changed_by, ':', 1), split_part(changed_by, ':', 2)::uuid)
WHERE changed_by ~ '^(user|client):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';

CREATE INDEX audit_log_actor ON audit_log (actor, id);

CREATE INDEX audit_log_action ON audit_log (action text_pattern_ops, id);

CREATE INDEX audit_log_object ON audit_log (object_kind, object_id, id);

CREATE INDEX audit_log_object_id ON audit_log (object_id, id);

CREATE INDEX audit_log_client ON audit_log (client_id, id) WHERE client_id IS NOT NULL;

CREATE INDEX audit_log_at ON audit_log (at);

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

CREATE UNLOGGED TABLE request_rates (
    holder uuid PRIMARY KEY,
    asked_at timestamptz NOT NULL,
    clear_at timestamptz NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE VIEW client_request_limits AS
SELECT client_id, coalesce(own.requests_per_minute, tiers.requests_per_minute) AS requests_per_minute
FROM client_resource_limits AS own JOIN tiers USING (tier);
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
