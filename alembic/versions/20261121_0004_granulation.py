"""Granulation: worker templates, structure types, trees; the course and quiz templates of both kinds."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = """
CREATE TABLE structure_types (
    structure_type text PRIMARY KEY,
    spec jsonb NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE granulator_templates (
    id uuid NOT NULL UNIQUE,
    name text NOT NULL,
    version integer NOT NULL CONSTRAINT granulator_templates_version CHECK (version > 0),
    structure_type text NOT NULL,
    minimum_tier text NOT NULL CONSTRAINT granulator_templates_tier
        CHECK (minimum_tier IN ('basic', 'standard', 'premium', 'enterprise')),
    tier_reason text NOT NULL,
    tokens_min integer NOT NULL,
    tokens_avg integer NOT NULL,
    tokens_max integer NOT NULL,
    expected_seconds integer NOT NULL,
    memory_mb integer NOT NULL,
    default_parameters jsonb NOT NULL,
    validation jsonb NOT NULL,
    models jsonb NOT NULL,
    offline_fallback boolean NOT NULL DEFAULT true,
    active boolean NOT NULL DEFAULT true,
    uses bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE granulation_trees (
    id uuid PRIMARY KEY,
    execution_id uuid NOT NULL,
    stage_id uuid NOT NULL UNIQUE,
    client_id uuid NOT NULL,
    structure_type text NOT NULL,
    template text NOT NULL,
    template_version integer NOT NULL,
    title text NOT NULL,
    state text NOT NULL CONSTRAINT trees_state CHECK (state IN ('valid', 'below_threshold', 'invalid')),
    origin text NOT NULL,
    score numeric(4, 1),
    assessment jsonb NOT NULL,
    head jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT trees_score CHECK ((state = 'invalid') = (score IS NULL))
);

CREATE INDEX granulation_trees_client ON granulation_trees (client_id, id DESC);

CREATE INDEX granulation_trees_execution ON granulation_trees (execution_id);

CREATE TABLE structure_elements (
    tree_id uuid NOT NULL REFERENCES granulation_trees,
    position integer NOT NULL,
    path text NOT NULL,
    node_id text NOT NULL,
    parent_id text,
    level smallint NOT NULL,
    kind text NOT NULL,
    title text NOT NULL,
    body jsonb NOT NULL,
    PRIMARY KEY (tree_id, position),
    UNIQUE (tree_id, node_id)
);

CREATE TABLE validation_results (
    tree_id uuid NOT NULL REFERENCES granulation_trees,
    position integer NOT NULL,
    severity text NOT NULL CONSTRAINT validation_severity CHECK (severity IN ('gate', 'error', 'warning')),
    rule text NOT NULL,
    path text NOT NULL,
    node_id text,
    message text NOT NULL,
    PRIMARY KEY (tree_id, position)
);

INSERT INTO granulator_templates
    (id, name, version, structure_type, minimum_tier, tier_reason, tokens_min, tokens_avg, tokens_max,
     expected_seconds, memory_mb, default_parameters, validation, models, created_at)
VALUES
    (gen_random_uuid(), 'quiz_basic_v1', 1, 'quiz', 'basic',
     'A quiz is small: one pass over the source.', 800, 1500, 3000, 5, 128,
     '{"granularityLevel": 3}', '{"level": 1, "threshold": 60}', '[]', clock_timestamp()),
    (gen_random_uuid(), 'course_structure_v1', 1, 'course', 'standard',
     'A course has three levels with objectives, practice and items.', 1500, 2500, 5000, 10, 256,
     '{"granularityLevel": 3}', '{"level": 1, "threshold": 60}', '[]', clock_timestamp());

INSERT INTO master_templates (id, name, version, title, description, flow, created_at)
VALUES
    (gen_random_uuid(), 'content_granulation_course', 1, 'Course',
     'Modules, lessons and activities with objectives and items, from a source document.',
     '[{"worker": "granulation", "templateRef": "course_structure_v1", "action": "granulate"}]',
     clock_timestamp()),
    (gen_random_uuid(), 'content_granulation_quiz', 1, 'Quiz',
     'Sections of checked items with answers and feedback, from a source document.',
     '[{"worker": "granulation", "templateRef": "quiz_basic_v1", "action": "granulate"}]',
     clock_timestamp())
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
