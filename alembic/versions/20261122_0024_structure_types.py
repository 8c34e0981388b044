"""Structure types of the operator's own: versions, of which the newest active one is used."""

from alembic import op

revision = "0024"
down_revision = "0023"

# json, not jsonb: the order of the fields is the author's. Nothing has written the table before.
STATEMENTS = """
ALTER TABLE structure_types
    ALTER COLUMN spec TYPE json,
    ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    ADD COLUMN version integer NOT NULL DEFAULT 1 CONSTRAINT structure_types_version CHECK (version > 0),
    ADD COLUMN active boolean NOT NULL DEFAULT true,
    DROP CONSTRAINT structure_types_pkey,
    ADD PRIMARY KEY (structure_type, version);

ALTER TABLE structure_types
    ALTER COLUMN id DROP DEFAULT,
    ALTER COLUMN version DROP DEFAULT,
    ALTER COLUMN active DROP DEFAULT
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
