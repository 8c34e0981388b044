"""What the routes of worker templates and structure types take and give."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from aifactory.granulation.schemas import View
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.template_queries import WorkerTemplate
from aifactory.granulation.templates import TemplateContent, get_type
from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.resources.interface import Quote, Tier


class NewTemplateInput(TemplateContent, frozen=True, kw_only=True):
    """A worker template to make."""

    name: str


class TemplateInput(TemplateContent, frozen=True, kw_only=True):
    """The next version of a worker template."""

    active: bool = True


class WorkerTemplateView(View, frozen=True, kw_only=True):
    """A version of a worker template; ``validationRules`` come from its structure type."""

    id: str
    name: str
    version: int
    title: str
    description: str
    structure_type: str
    minimum_tier: Tier
    tier_reason: str
    tokens_min: int
    tokens_avg: int
    tokens_max: int
    max_input_tokens: int
    expected_seconds: int
    memory_mb: int
    default_parameters: dict[str, Any]
    parameter_schema: dict[str, Any]
    validation: dict[str, Any]
    validation_rules: tuple[str, ...]
    models: tuple[str, ...]
    offline_fallback: bool
    active: bool
    uses: int
    created_at: datetime


class PricedWorkerTemplateView(WorkerTemplateView, frozen=True, kw_only=True):
    """A template as its caller may use it: ``requiredTier`` if the caller's is too low, and what the default
    parameters cost; null where it can't run at present.
    """

    allowed: bool
    required_tier: Tier | None
    estimated_cost_usd: Decimal | None
    worst_cost_usd: Decimal | None


class LevelView(View, frozen=True, kw_only=True):
    """A level of a structure type: ``min`` to ``max`` nodes of this kind per parent."""

    kind: str
    title: str
    min: int
    max: int


class StructureTypeSummary(View, frozen=True, kw_only=True):
    """A structure type in a list."""

    type: str
    title: str
    description: str
    levels: list[LevelView]


def template_view(template: WorkerTemplate) -> WorkerTemplateView:
    """Show a version of a template."""
    return WorkerTemplateView(**_fields(template))


def priced_template_view(
    template: WorkerTemplate, tier: Tier, quote: Quote | None
) -> PricedWorkerTemplateView:
    """Show a template to a caller of a tier."""
    allowed = template.minimum_tier.rank <= tier.rank
    return PricedWorkerTemplateView(
        **_fields(template),
        allowed=allowed,
        required_tier=None if allowed else template.minimum_tier,
        estimated_cost_usd=None if quote is None else usd(quote.estimated_nano),
        worst_cost_usd=None if quote is None else usd(quote.worst_nano),
    )


def _fields(template: WorkerTemplate) -> dict[str, Any]:
    fields = {name: getattr(template, name) for name in template.__struct_fields__}
    rules = get_type(template.structure_type).rules
    return fields | {"id": text_id("tpl", template.id), "validation_rules": rules}


def type_summary(spec: StructureSpec) -> StructureTypeSummary:
    """Show a structure type in a list."""
    return StructureTypeSummary(
        type=spec.type,
        title=spec.title,
        description=spec.description,
        levels=[
            LevelView(kind=level.kind, title=level.title, min=level.min, max=level.max)
            for level in spec.levels
        ],
    )
