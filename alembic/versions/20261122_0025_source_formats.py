"""Templates take sources written in HTML and reStructuredText too."""

from alembic import op

revision = "0025"
down_revision = "0023"

# Replaced in the text: json keeps the order of the fields, which is their author's.
STATEMENT = r"""
UPDATE granulator_templates
SET parameter_schema = regexp_replace(
    parameter_schema::text,
    '"enum":\s*\["markdown",\s*"text"\]',
    '"enum": ["markdown", "text", "html", "rst"]',
    'g'
)::json
WHERE parameter_schema::text ~ '"enum":\s*\["markdown",\s*"text"\]'
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(STATEMENT)
