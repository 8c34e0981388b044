"""The flashcards and document templates of both kinds."""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = """
INSERT INTO granulator_templates
    (id, name, version, structure_type, minimum_tier, tier_reason, tokens_min, tokens_avg, tokens_max,
     expected_seconds, memory_mb, default_parameters, validation, models, title, description,
     max_input_tokens, created_at)
VALUES
    (gen_random_uuid(), 'flashcards_basic_v1', 1, 'flashcards', 'basic',
     'A deck is small: one pass over the source.', 800, 1500, 3000, 5, 128,
     '{"granularityLevel": 3}', '{"level": 1, "threshold": 60}', '[]', 'Flashcards',
     'Groups of cards: terms and their meanings, questions, and sentences with a gap.',
     8000, clock_timestamp()),
    (gen_random_uuid(), 'document_basic_v1', 1, 'document', 'basic',
     'A document keeps the order of its source: one pass over it.', 800, 1500, 3000, 5, 128,
     '{"granularityLevel": 3}', '{"level": 1, "threshold": 60}', '[]', 'Document',
     'The outline of a report or article: sections, subsections, and claims with their evidence.',
     8000, clock_timestamp());

INSERT INTO master_templates (id, name, version, title, description, flow, created_at)
VALUES
    (gen_random_uuid(), 'content_granulation_flashcards', 1, 'Flashcards',
     'Groups of cards with a front and a back, each pointing at its passage, from a source document.',
     '[{"worker": "granulation", "templateRef": "flashcards_basic_v1", "action": "granulate"}]',
     clock_timestamp()),
    (gen_random_uuid(), 'content_granulation_document', 1, 'Document',
     'Sections and subsections with the claims of a source document in its order, each with its passage.',
     '[{"worker": "granulation", "templateRef": "document_basic_v1", "action": "granulate"}]',
     clock_timestamp())
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
