"""What the routes of structure types take and give."""

from datetime import datetime

from aifactory.granulation.model.choice import why_not_by_models
from aifactory.granulation.schemas import View
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.type_queries import StoredType
from aifactory.granulation.types import is_built_in
from aifactory.kernel.ids import text_id


class LevelView(View, frozen=True, kw_only=True):
    """A level of a structure type: ``min`` to ``max`` nodes of this kind per parent."""

    kind: str
    title: str
    min: int
    max: int


class StructureTypeSummary(View, frozen=True, kw_only=True):
    """A structure type in a list; ``whyOffline``: why no model writes it, null for one that models write."""

    type: str
    title: str
    description: str
    built_in: bool
    levels: list[LevelView]
    why_offline: str | None


class StructureTypeVersion(View, frozen=True, kw_only=True):
    """A version of a structure type that an operator made."""

    id: str
    type: str
    version: int
    active: bool
    created_at: datetime
    spec: StructureSpec


def type_summary(spec: StructureSpec) -> StructureTypeSummary:
    """Show a structure type in a list."""
    return StructureTypeSummary(
        type=spec.type,
        title=spec.title,
        description=spec.description,
        built_in=is_built_in(spec.type),
        levels=[
            LevelView(kind=level.kind, title=level.title, min=level.min, max=level.max)
            for level in spec.levels
        ],
        why_offline=why_not_by_models(spec),
    )


def version_view(stored: StoredType) -> StructureTypeVersion:
    """Show a version of a structure type."""
    return StructureTypeVersion(
        id=text_id("type", stored.id),
        type=stored.structure_type,
        version=stored.version,
        active=stored.active,
        created_at=stored.created_at,
        spec=stored.spec,
    )
