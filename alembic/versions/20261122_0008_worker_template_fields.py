"""Worker templates say what they are, and have the JSON Schema of their parameters."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

TEXTS = {
    "quiz_basic_v1": (
        "Quiz",
        "Sections of items of several kinds, with keys, rationales and feedback, by a blueprint of objectives.",
    ),
    "course_structure_v1": (
        "Course",
        "Modules, lessons and activities with objectives, practice, items and a glossary.",
    ),
}
MAX_INPUT_TOKENS = {"quiz_basic_v1": 8_000, "course_structure_v1": 8_000}

# What every type takes; null where each has its own.
SCHEMA = """
{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "description": "What a client may ask of a worker template.",
  "type": "object",
  "properties": {
    "topic": {
      "anyOf": [{"type": "string", "maxLength": 200, "minLength": 1}, {"type": "null"}],
      "default": null
    },
    "structureType": null,
    "source": {
      "anyOf": [
        {
          "title": "SourceReference",
          "description": "Source material: its text, or a reference to stored data; one of them.",
          "type": "object",
          "properties": {
            "text": {"type": "string", "minLength": 1},
            "dataRef": {"type": "string"},
            "format": {
              "title": "SourceFormat",
              "description": "How a source text is written.",
              "enum": ["markdown", "text"],
              "default": "markdown"
            },
            "name": {"type": "string", "maxLength": 200, "default": "source"}
          },
          "additionalProperties": false,
          "oneOf": [{"required": ["text"]}, {"required": ["dataRef"]}]
        },
        {"type": "null"}
      ],
      "default": null
    },
    "title": {
      "anyOf": [{"type": "string", "maxLength": 200, "minLength": 1}, {"type": "null"}],
      "default": null
    },
    "targetAudience": {"type": "string", "maxLength": 200, "default": ""},
    "level": {"type": "string", "maxLength": 60, "default": ""},
    "language": {"anyOf": [{"type": "string", "pattern": "^[a-z]{2}$"}, {"type": "null"}], "default": null},
    "granularityLevel": null,
    "depth": null,
    "size": {
      "anyOf": [
        {
          "title": "Size",
          "description": "Nodes per parent on each level, outermost first; replaces the counts of granularityLevel.",
          "type": "object",
          "properties": {
            "perLevel": {
              "type": "array",
              "items": {"type": "integer", "minimum": 0, "maximum": 1500},
              "maxItems": 3,
              "minItems": 1,
              "prefixItems": [{"type": "integer", "minimum": 1, "maximum": 1500}]
            }
          },
          "required": ["perLevel"],
          "additionalProperties": false
        },
        {"type": "null"}
      ],
      "default": null
    },
    "constraints": {
      "title": "Constraints",
      "description": "Caps on the result.",
      "type": "object",
      "properties": {
        "maxModules": {
          "anyOf": [{"type": "integer", "minimum": 1, "maximum": 100}, {"type": "null"}],
          "default": null
        },
        "estimatedHours": {
          "anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 10000}, {"type": "null"}],
          "default": null
        },
        "focusAreas": {
          "type": "array",
          "items": {"type": "string", "maxLength": 200, "minLength": 1},
          "maxItems": 20,
          "default": []
        }
      },
      "required": [],
      "additionalProperties": false,
      "default": {}
    },
    "objects": {
      "type": "array",
      "items": {
        "title": "MandatoryObject",
        "description": "Something that must appear: ``where`` is a node's path, a level's kind, or empty for anywhere.",
        "type": "object",
        "properties": {
          "name": {"type": "string", "maxLength": 120, "minLength": 1},
          "kind": {"type": "string", "maxLength": 60, "default": ""},
          "where": {"type": "string", "maxLength": 60, "default": ""}
        },
        "required": ["name"],
        "additionalProperties": false
      },
      "maxItems": 50,
      "default": []
    },
    "mode": {
      "title": "Mode",
      "description": "How to generate: one call per part, one per child where that is faster, or without a model.",
      "enum": ["balanced", "fast", "offline"],
      "default": "balanced"
    },
    "validation": {
      "title": "Validation",
      "description": "How far the result is checked, and from which score it is accepted.",
      "type": "object",
      "properties": {
        "enabled": {"type": "boolean", "default": true},
        "level": {"type": "integer", "minimum": 1, "maximum": 3, "default": 1},
        "threshold": {"type": "number", "minimum": 0, "maximum": 100, "default": 60}
      },
      "required": [],
      "additionalProperties": false,
      "default": {}
    }
  },
  "required": [],
  "additionalProperties": false
}
"""
OWN = """
{
  "course": {
    "structureType": {"enum": ["course", null], "default": null},
    "granularityLevel": {
      "type": "integer",
      "minimum": 1,
      "maximum": 5,
      "default": 3,
      "description": "The most nodes per parent on each level: 1: 3×2×0; 2: 4×3×1; 3: 6×3×2; 4: 8×4×2; 5: 12×5×3."
    },
    "depth": {
      "anyOf": [{"type": "integer", "minimum": 1, "maximum": 3}, {"type": "null"}],
      "default": null,
      "description": "The number of levels, of 3: module, lesson, activity; more means all."
    }
  },
  "quiz": {
    "structureType": {"enum": ["quiz", null], "default": null},
    "granularityLevel": {
      "type": "integer",
      "minimum": 1,
      "maximum": 5,
      "default": 3,
      "description": "The most nodes per parent on each level: 1: 2×3; 2: 3×4; 3: 4×5; 4: 6×6; 5: 8×10."
    },
    "depth": {
      "anyOf": [{"type": "integer", "minimum": 1, "maximum": 3}, {"type": "null"}],
      "default": null,
      "description": "The number of levels, of 2: section, item; more means all."
    }
  },
  "flashcards": {
    "structureType": {"enum": ["flashcards", null], "default": null},
    "granularityLevel": {
      "type": "integer",
      "minimum": 1,
      "maximum": 5,
      "default": 3,
      "description": "The most nodes per parent on each level: 1: 2×5; 2: 3×8; 3: 4×10; 4: 6×12; 5: 8×15."
    },
    "depth": {
      "anyOf": [{"type": "integer", "minimum": 1, "maximum": 3}, {"type": "null"}],
      "default": null,
      "description": "The number of levels, of 2: group, card; more means all."
    }
  },
  "document": {
    "structureType": {"enum": ["document", null], "default": null},
    "granularityLevel": {
      "type": "integer",
      "minimum": 1,
      "maximum": 5,
      "default": 3,
      "description": "The most nodes per parent on each level: 1: 3×2×0; 2: 4×2×2; 3: 5×2×3; 4: 6×3×3; 5: 8×4×4."
    },
    "depth": {
      "anyOf": [{"type": "integer", "minimum": 1, "maximum": 3}, {"type": "null"}],
      "default": null,
      "description": "The number of levels, of 3: section, subsection, point; more means all."
    }
  }
}
"""


def upgrade() -> None:
    connection = op.get_bind()
    text = sa.text(
        "UPDATE granulator_templates SET title = :title, description = :text WHERE name = :name AND title = ''"
    )
    for name, (title, description) in TEXTS.items():
        connection.execute(text, {"name": name, "title": title, "text": description})
    for name, tokens in MAX_INPUT_TOKENS.items():
        connection.execute(
            sa.text("UPDATE granulator_templates SET max_input_tokens = :tokens WHERE name = :name"),
            {"name": name, "tokens": tokens},
        )
    schema = sa.text(
        "UPDATE granulator_templates SET parameter_schema = CAST(:schema AS jsonb) "
        "WHERE structure_type = :type AND parameter_schema = '{}'"
    )
    own: dict[str, dict[str, Any]] = json.loads(OWN)
    for structure_type, properties in own.items():
        whole = json.loads(SCHEMA)
        whole["properties"] |= properties
        connection.execute(schema, {"type": structure_type, "schema": json.dumps(whole)})
