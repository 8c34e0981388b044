"""The shape of a structure type: what its levels hold, which rules apply, how it is scored. Pure."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

# What a spec may switch on. The checks behind the names live in validation and scoring.
TREE_RULES = frozenset(
    {
        "alignment",
        "order",
        "redundancy",
        "coherence",
        "glossary",
        "blueprint",
        "headings",
        "sourceOrder",
        "edges",
    }
)
LEVEL_RULES = frozenset(
    {"leafMinutes", "conceptLoad", "card", "claim", "flow", "story", "skillRise", "workload"}
)
SUB_SCORES = (
    "coverage",
    "alignment",
    "order",
    "nonRedundancy",
    "balance",
    "form",
    "itemQuality",
    "readability",
)

Name = Annotated[str, Meta(pattern=r"\A[a-z][a-zA-Z0-9_]{0,39}\Z")]


class FieldType(StrEnum):
    """What a field's value is."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    LIST = "list"
    OBJECT = "object"
    OBJECTIVE = "objective"
    CONCEPT = "concept"
    ITEM = "item"
    REFERENCE = "reference"


# Fields that a rule reads, with the type of the value or of a list's entries: a level that switches the rule
# on has to declare them. A dot leads into an object, or into the objects of a list.
FIELDS_OF_RULES: dict[str, dict[str, FieldType]] = {
    "card": {"front": FieldType.TEXT, "back": FieldType.TEXT, "cardKind": FieldType.CHOICE},
    "claim": {"claim": FieldType.TEXT},
    "flow": {
        "requires": FieldType.REFERENCE,
        "decision.branches.to": FieldType.REFERENCE,
        "decision.branches.rework": FieldType.BOOLEAN,
    },
    "story": {
        "place": FieldType.REFERENCE,
        "cast": FieldType.REFERENCE,
        "opens": FieldType.REFERENCE,
        "closes": FieldType.REFERENCE,
        "words": FieldType.INTEGER,
    },
    "skillRise": {"from": FieldType.INTEGER, "to": FieldType.INTEGER},
    "workload": {"weeks": FieldType.NUMBER},
}
# The same for what a rule reads at the root of the tree, whether a level or the tree switches it on.
ROOT_FIELDS_OF_RULES: dict[str, dict[str, FieldType]] = {
    "edges": {
        "edges.from": FieldType.REFERENCE,
        "edges.to": FieldType.REFERENCE,
        "edges.edgeKind": FieldType.CHOICE,
    },
    "story": {
        "cast.id": FieldType.TEXT,
        "places.id": FieldType.TEXT,
        "threads.id": FieldType.TEXT,
    },
    "workload": {"hoursPerWeek": FieldType.NUMBER},
}


class Presence(StrEnum):
    """How much a text is wanted: without a required one is an error, without an expected one a warning."""

    REQUIRED = "required"
    EXPECTED = "expected"
    OPTIONAL = "optional"


class Use(StrEnum):
    """What a reference means for alignment and order."""

    TEACH = "teach"
    PRACTISE = "practise"
    ASSESS = "assess"
    ORDER = "order"
    PLAN = "plan"


class SpecPart(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """Base of everything inside a spec."""


class FieldSpec(SpecPart, frozen=True, kw_only=True):
    """One field: ``min`` and ``max`` bound a text's characters, a number's value or a list's length.

    ``defines`` names the space that the value's id (an object's field ``id``, or the text itself) is declared
    in; ``refers_to`` the space it points into: a level's kind, ``node`` (of any kind), ``objective``,
    ``outcome``, ``term``, ``concept`` or what an object defines. A reference to nothing fails a gate; a text
    that refers to nothing is only an order error.
    """

    type: FieldType
    required: bool = False
    min: float | None = None
    max: float | None = None
    choices: tuple[str, ...] = ()
    of: "FieldSpec | None" = None
    fields: dict[Name, "FieldSpec"] = {}
    defines: Name | None = None
    refers_to: Name | None = None
    use: Use | None = None


class LevelSpec(SpecPart, frozen=True, kw_only=True):
    """One level of a tree, ``min`` to ``max`` nodes per parent; 0 where a parent may do without."""

    kind: Name
    title: Annotated[str, Meta(min_length=1, max_length=60)]
    min: Annotated[int, Meta(ge=0, le=100)]
    max: Annotated[int, Meta(ge=1, le=1500)]
    summary: Presence = Presence.OPTIONAL
    fields: dict[Name, FieldSpec] = {}
    rules: tuple[str, ...] = ()


class Bands(SpecPart, frozen=True, kw_only=True):
    """Scores from which a tree is accepted or reviewed; below, it is rejected."""

    accept: Annotated[float, Meta(ge=0, le=100)] = 75
    review: Annotated[float, Meta(ge=0, le=100)] = 60


class StructureSpec(SpecPart, frozen=True, kw_only=True):
    """A structure type."""

    schema_version: int = 1
    type: Name
    title: Annotated[str, Meta(min_length=1, max_length=60)]
    description: str = ""
    levels: Annotated[tuple[LevelSpec, ...], Meta(min_length=1, max_length=3)]
    root_fields: dict[Name, FieldSpec] = {}
    rules: tuple[str, ...] = ()
    presets: dict[str, tuple[int, ...]] = {}
    weights: dict[str, float]
    optional_sub_scores: dict[str, str] = {}
    readability: dict[str, tuple[float, float]] = {}
    leaf_minutes: tuple[int, int] = (3, 12)
    concept_load: int = 4
    bands: Bands = Bands()

    def has_rule(self, name: str) -> bool:
        """Whether the tree or one of its levels switches a rule on."""
        return name in self.rules or any(name in level.rules for level in self.levels)

    def level(self, index: int) -> LevelSpec | None:
        """The level at ``index`` (0 is the outermost), or None beyond the last."""
        return self.levels[index] if 0 <= index < len(self.levels) else None
