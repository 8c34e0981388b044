"""What the routes of worker templates take and give."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from aifactory.granulation.schemas import View
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.template_queries import WorkerTemplate
from aifactory.granulation.templates import TemplateContent
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


def template_view(template: WorkerTemplate, spec: StructureSpec) -> WorkerTemplateView:
    """Show a version of a template, with the rules of its structure type."""
    return WorkerTemplateView(**_fields(template, spec))


def priced_template_view(
    template: WorkerTemplate, spec: StructureSpec, tier: Tier, quote: Quote | None
) -> PricedWorkerTemplateView:
    """Show a template to a caller of a tier."""
    allowed = template.minimum_tier.rank <= tier.rank
    return PricedWorkerTemplateView(
        **_fields(template, spec),
        allowed=allowed,
        required_tier=None if allowed else template.minimum_tier,
        estimated_cost_usd=None if quote is None else usd(quote.estimated_nano),
        worst_cost_usd=None if quote is None else usd(quote.worst_nano),
    )


def _fields(template: WorkerTemplate, spec: StructureSpec) -> dict[str, Any]:
    fields = {name: getattr(template, name) for name in template.__struct_fields__}
    return fields | {"id": text_id("tpl", template.id), "validation_rules": spec.rules}
