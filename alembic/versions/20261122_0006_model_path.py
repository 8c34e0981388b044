"""Trees tell which models wrote them, what was repaired and what a judge said; worker templates say more."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = """
ALTER TABLE granulation_trees
    ADD COLUMN models jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN repairs jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN judgement jsonb;

ALTER TABLE granulator_templates
    ADD COLUMN title text NOT NULL DEFAULT '',
    ADD COLUMN description text NOT NULL DEFAULT '',
    ADD COLUMN parameter_schema jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN max_input_tokens integer NOT NULL DEFAULT 8000
        CONSTRAINT granulator_templates_max_input CHECK (max_input_tokens > 0)
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
