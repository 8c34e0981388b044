"""Accounts: pipelines of several stages."""

from alembic import op

revision = "0013"
down_revision = "0012"

STATEMENTS = """
INSERT INTO master_templates (id, name, version, title, description, flow, created_at)
VALUES
    (gen_random_uuid(), 'course_with_quiz', 1, 'Course with quiz',
     'A course, and a quiz whose objectives are the course''s: every item tests one of them.',
     '[{"name": "course", "worker": "granulation", "templateRef": "course_structure_v1",
        "action": "granulate", "onFailure": "offline"},
       {"name": "quiz", "worker": "granulation", "templateRef": "quiz_basic_v1", "action": "granulate",
        "inputMapping": {"objectives": "/stages/course/outputs/tree"},
        "onFailure": "offline"}]',
     clock_timestamp()),
    (gen_random_uuid(), 'complete_education_pipeline', 1, 'Course, quiz and flashcards',
     'A course, a quiz on its objectives and flashcards, from one source; partial without the cards.',
     '[{"name": "course", "worker": "granulation", "templateRef": "course_structure_v1",
        "action": "granulate", "onFailure": "offline"},
       {"name": "quiz", "worker": "granulation", "templateRef": "quiz_basic_v1", "action": "granulate",
        "inputMapping": {"objectives": "/stages/course/outputs/tree"},
        "onFailure": "offline"},
       {"name": "flashcards", "worker": "granulation", "templateRef": "flashcards_basic_v1",
        "action": "granulate", "onFailure": "continue_partial"}]',
     clock_timestamp()),
    (gen_random_uuid(), 'document_with_extras', 1, 'Document with flashcards and quiz',
     'A document, flashcards, and a quiz where it has four sections or parameters.stages.quiz asks for one.',
     '[{"name": "document", "worker": "granulation", "templateRef": "document_basic_v1",
        "action": "granulate", "onFailure": "offline"},
       {"name": "flashcards", "worker": "granulation", "templateRef": "flashcards_basic_v1",
        "action": "granulate", "required": false},
       {"name": "quiz", "worker": "granulation", "templateRef": "quiz_basic_v1", "action": "granulate",
        "condition": {"or": [
          {"path": "/stages/document/outputs/counts/section", "op": "ge", "value": 4},
          {"path": "/request/stages/quiz", "op": "exists"}]},
        "required": false, "onFailure": "skip"}]',
     clock_timestamp())
"""


def upgrade() -> None:
    for statement in filter(str.strip, STATEMENTS.split(";\n\n")):
        op.execute(statement.rstrip().rstrip(";"))
