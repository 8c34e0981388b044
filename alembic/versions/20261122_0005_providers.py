"""Providers as data: how to speak to them, their circuits; models' limits and where their prices come from."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = """
ALTER TABLE providers
    ADD COLUMN title text NOT NULL DEFAULT '',
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD COLUMN profile text NOT NULL DEFAULT 'openai'
        CONSTRAINT providers_profile CHECK (profile IN ('openai', 'anthropic', 'gemini')),
    ADD COLUMN structured text NOT NULL DEFAULT 'json_schema'
        CONSTRAINT providers_structured CHECK (structured IN ('json_schema', 'json_object', 'text')),
    ADD COLUMN streaming boolean NOT NULL DEFAULT true,
    ADD COLUMN connect_seconds double precision NOT NULL DEFAULT 10
        CONSTRAINT providers_connect CHECK (connect_seconds > 0),
    ADD COLUMN first_token_seconds double precision NOT NULL DEFAULT 60
        CONSTRAINT providers_first_token CHECK (first_token_seconds > 0),
    ADD COLUMN idle_seconds double precision NOT NULL DEFAULT 30
        CONSTRAINT providers_idle CHECK (idle_seconds > 0),
    ADD COLUMN simulated boolean NOT NULL DEFAULT false,
    ADD COLUMN key_present boolean NOT NULL DEFAULT true,
    ADD COLUMN failures integer NOT NULL DEFAULT 0
        CONSTRAINT providers_failures CHECK (failures >= 0),
    ADD COLUMN openings integer NOT NULL DEFAULT 0
        CONSTRAINT providers_openings CHECK (openings >= 0),
    ADD COLUMN circuit_until timestamptz,
    ADD COLUMN last_error text NOT NULL DEFAULT '',
    ADD COLUMN last_error_at timestamptz;

ALTER TABLE models
    ADD COLUMN context_tokens integer NOT NULL DEFAULT 128000
        CONSTRAINT models_context CHECK (context_tokens > 0),
    ADD COLUMN source text NOT NULL DEFAULT 'built_in'
        CONSTRAINT models_source CHECK (source IN ('built_in', 'file', 'api'));

UPDATE models SET max_output_tokens = 4096 WHERE max_output_tokens IS NULL;

ALTER TABLE models
    ALTER COLUMN max_output_tokens SET NOT NULL,
    ADD CONSTRAINT models_max_output CHECK (max_output_tokens > 0)
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
