"""Indexes of lists that would else be looked for in all history."""

from alembic import op

revision = "0023"
down_revision = "0022"

# Executions in a state, newest first, of a client and of all. What has succeeded is most of all history and is
# found on the way. States of the unfinished have one index for both: nothing but its entry is added to what a
# submission and its start write, and of all clients they are few. The other two are written at such an end only.
STATEMENTS = """
CREATE INDEX executions_unfinished_state ON executions (state, client_id, id DESC)
    WHERE state IN ('queued', 'running');

CREATE INDEX executions_client_ended_badly ON executions (client_id, state, id DESC)
    WHERE state IN ('partial', 'failed', 'cancelled', 'expired');

CREATE INDEX executions_ended_badly ON executions (state, id DESC)
    WHERE state IN ('partial', 'failed', 'cancelled', 'expired');

CREATE INDEX budgets_of_clients ON budgets (period_end) WHERE scope = 'client';
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
