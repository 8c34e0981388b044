"""Granulation: the larger course and quiz templates, for the tiers above."""

from alembic import op

revision = "0021"
down_revision = "0020"

# What they take is their types' own, as their smaller siblings have it. The threshold is that of the types'
# band "accept". An operator may have made a template of such a name: then it stays.
STATEMENTS = """
INSERT INTO granulator_templates
    (id, name, version, structure_type, minimum_tier, tier_reason, tokens_min, tokens_avg, tokens_max,
     max_input_tokens, expected_seconds, memory_mb, default_parameters, parameter_schema, validation, models,
     title, description, created_at)
SELECT gen_random_uuid(), 'course_structure_v2', 1, structure_type, 'premium',
       'Up to 12 modules and a judge: about four times the tokens of course_structure_v1.',
       2500, 4000, 8000, 16000, 40, 512,
       '{"granularityLevel": 5, "depth": 3}', parameter_schema,
       '{"enabled": true, "level": 2, "threshold": 75}', '[]', 'Large course',
       'Up to 12 modules of 5 lessons, always with activities; advice of a judge, accepted from 75 points.',
       clock_timestamp()
FROM granulator_templates WHERE name = 'course_structure_v1' AND version = 1
ON CONFLICT (name, version) DO NOTHING;

INSERT INTO granulator_templates
    (id, name, version, structure_type, minimum_tier, tier_reason, tokens_min, tokens_avg, tokens_max,
     max_input_tokens, expected_seconds, memory_mb, default_parameters, parameter_schema, validation, models,
     title, description, created_at)
SELECT gen_random_uuid(), 'quiz_generator_v1', 1, structure_type, 'enterprise',
       'Up to 80 items and a judge: more than three times the tokens of quiz_basic_v1.',
       2000, 4000, 8000, 16000, 20, 256,
       '{"granularityLevel": 5, "depth": 2}', parameter_schema,
       '{"enabled": true, "level": 3, "threshold": 75}', '[]', 'Large quiz',
       'Up to 8 sections of 10 items; advice of a judge, also on the audience, accepted from 75 points.',
       clock_timestamp()
FROM granulator_templates WHERE name = 'quiz_basic_v1' AND version = 1
ON CONFLICT (name, version) DO NOTHING
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
