"""Structure types as data: levels, fields, rules, presets and weights, read and checked from JSON. Pure."""

from aifactory.granulation.specs.loading import ANY_NODE, SpecError, builtin_specs, load_spec
from aifactory.granulation.specs.model import (
    LEVEL_RULES,
    SUB_SCORES,
    TREE_RULES,
    FieldSpec,
    FieldType,
    LevelSpec,
    Presence,
    StructureSpec,
    Use,
)

__all__ = [
    "ANY_NODE",
    "LEVEL_RULES",
    "SUB_SCORES",
    "TREE_RULES",
    "FieldSpec",
    "FieldType",
    "LevelSpec",
    "Presence",
    "SpecError",
    "StructureSpec",
    "Use",
    "builtin_specs",
    "load_spec",
]
