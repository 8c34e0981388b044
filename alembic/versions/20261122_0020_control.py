"""Pools, queues and tiers that the operator edits."""

from alembic import op

revision = "0020"
down_revision = "0019"

STATEMENTS = """
CREATE INDEX lanes_client ON lanes (client_id);

CREATE INDEX queue_due_client ON queue_due (client_id, queue);

ALTER TABLE queues
    ADD CONSTRAINT queues_share CHECK (share_percent BETWEEN 0 AND 50),
    ADD CONSTRAINT queues_full_age CHECK (full_age_seconds > 0);

ALTER TABLE tiers ADD CONSTRAINT tiers_requests_per_minute CHECK (requests_per_minute > 0);

ALTER TABLE client_requests ADD COLUMN off_peak boolean NOT NULL DEFAULT false;
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
