"""Resources: counters of an execution's jobs, the outbox of ended executions."""

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = """
ALTER TABLE executions
    ADD COLUMN jobs_done integer NOT NULL DEFAULT 0 CONSTRAINT executions_jobs_done CHECK (jobs_done >= 0),
    ADD COLUMN jobs_total integer NOT NULL DEFAULT 0,
    ADD COLUMN releases bigint NOT NULL DEFAULT 0;

UPDATE executions e SET
    releases = e.event_seq,
    jobs_done = (SELECT count(*) FROM jobs j WHERE j.execution_id = e.id AND j.finished_at IS NOT NULL),
    jobs_total = (SELECT count(*) FROM jobs j WHERE j.execution_id = e.id)
        + (SELECT coalesce(sum(l.remaining), 0) FROM execution_lines l WHERE l.execution_id = e.id);

ALTER TABLE executions ADD CONSTRAINT executions_jobs_total CHECK (jobs_total >= jobs_done);

CREATE TABLE event_outbox (
    execution_id uuid NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (execution_id, seq)
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

CREATE INDEX event_outbox_oldest ON event_outbox (at);
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
