"""Granulation: templates of learning paths, knowledge maps, workflows and novels; sources in HTML and reST."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"

# What each type has of its own in the schema of its parameters: the levels and the nodes that they come to.
OWN = {
    "workflow": (
        "phase, step, task",
        "1: 2×3×0; 2: 3×3×1; 3: 4×4×2; 4: 5×5×3; 5: 7×8×4",
    ),
    "novel": (
        "act, chapter, scene",
        "1: 3×3×2; 2: 3×4×2; 3: 3×5×3; 4: 4×6×3; 5: 5×8×4",
    ),
    "knowledge_map": (
        "concept, subconcept, detail",
        "1: 3×2×0; 2: 4×3×1; 3: 6×4×2; 4: 8×5×2; 5: 10×6×3",
    ),
    "learning_path": (
        "milestone, skill, activity",
        "1: 3×2×1; 2: 3×3×2; 3: 5×3×2; 4: 6×4×2; 5: 8×5×3",
    ),
}
TEMPLATES: list[dict[str, Any]] = [
    {
        "name": "workflow_standard_v1",
        "type": "workflow",
        "tier": "standard",
        "reason": "A workflow has three levels with roles, gates and decisions.",
        "tokens": (1200, 2000, 4000),
        "seconds": 10,
        "memory": 256,
        "title": "Workflow",
        "description": "Who does what in which order: phases with gates, steps with roles, inputs and outputs, tasks.",
        "offers": "Phases, steps and tasks with roles, gates and decisions, from a document that tells how to do something.",
    },
    {
        "name": "novel_structure_v1",
        "type": "novel",
        "tier": "premium",
        "reason": "A novel's scenes share a cast, places and threads that have to close: much to keep together.",
        "tokens": (3000, 5000, 10000),
        "seconds": 20,
        "memory": 512,
        "title": "Novel",
        "description": "The plan of a story: cast, places and threads; acts, chapters and scenes with words that add up.",
        "offers": "Acts, chapters and scenes with a cast, places and threads; offline a beat sheet from a source document.",
    },
    {
        "name": "knowledge_map_v1",
        "type": "knowledge_map",
        "tier": "premium",
        "reason": "A knowledge map relates every concept to others across its branches.",
        "tokens": (2000, 3500, 7000),
        "seconds": 15,
        "memory": 256,
        "title": "Knowledge map",
        "description": "Concepts with definitions, what they are divided into, and edges that say how they are related.",
        "offers": "Concepts, their parts and details, and how they are related, from a source document.",
    },
    {
        "name": "learning_path_v1",
        "type": "learning_path",
        "tier": "enterprise",
        "reason": "A learning path plans skills, evidence and hours over weeks, for one goal.",
        "tokens": (4000, 7000, 15000),
        "seconds": 20,
        "memory": 256,
        "title": "Learning path",
        "description": "Milestones with outcomes and weeks, skills with evidence, activities with minutes.",
        "offers": "Milestones, skills and activities toward a goal, week by week, from a source document.",
    },
]
# All types take the same parameters, so a schema differs from the quiz's in three places only.
WORKER = """
INSERT INTO granulator_templates
    (id, name, version, structure_type, minimum_tier, tier_reason, tokens_min, tokens_avg, tokens_max,
     max_input_tokens, expected_seconds, memory_mb, default_parameters, parameter_schema, validation, models,
     title, description, created_at)
SELECT gen_random_uuid(), :name, 1, :type, :tier, :reason, :least, :average, :most, 8000, :seconds, :memory,
       '{"granularityLevel": 3}',
       jsonb_set(jsonb_set(jsonb_set(parameter_schema,
           '{properties,structureType,enum}', jsonb_build_array(CAST(:type AS text), NULL)),
           '{properties,depth,description}', to_jsonb(CAST(:depth AS text))),
           '{properties,granularityLevel,description}', to_jsonb(CAST(:presets AS text))),
       '{"enabled": true, "level": 1, "threshold": 60}', '[]', :title, :description, clock_timestamp()
FROM granulator_templates WHERE name = 'quiz_basic_v1' AND version = 1
ON CONFLICT (name, version) DO NOTHING
"""
MASTER = """
INSERT INTO master_templates (id, name, version, title, description, flow, created_at)
VALUES (gen_random_uuid(), :name, 1, :title, :offers, CAST(:flow AS jsonb), clock_timestamp())
ON CONFLICT (name, version) DO NOTHING
"""
FORMAT = "{properties,source,anyOf,0,properties,format,enum}"
# Every stored schema that takes both older formats takes the two new ones; one that restricts them stays.
FORMATS = f"""
UPDATE granulator_templates
SET parameter_schema = jsonb_set(parameter_schema, '{FORMAT}', '["html", "markdown", "rst", "text"]')
WHERE parameter_schema #> '{FORMAT}' = '["markdown", "text"]'
"""


def upgrade() -> None:
    op.execute(FORMATS)
    connection = op.get_bind()
    for one in TEMPLATES:
        kinds, presets = OWN[one["type"]]
        least, average, most = one["tokens"]
        said = {name: one[name] for name in ("name", "type", "tier", "reason", "seconds", "memory")}
        said |= {"title": one["title"], "description": one["description"]}
        said |= {"least": least, "average": average, "most": most}
        said |= {
            "depth": f"The number of levels, of 3: {kinds}; more means all.",
            "presets": f"The most nodes per parent on each level: {presets}.",
        }
        connection.execute(sa.text(WORKER), said)
        flow = [{"worker": "granulation", "templateRef": one["name"], "action": "granulate"}]
        master = {"name": f"content_granulation_{one['type']}", "title": one["title"]}
        connection.execute(sa.text(MASTER), {**master, "offers": one["offers"], "flow": json.dumps(flow)})
