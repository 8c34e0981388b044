"""What master templates take and give over HTTP: camelCase, text ids, dollars."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta

from aifactory.accounts.models import MasterTemplateRow
from aifactory.accounts.schemas import Input, Name, View
from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.resources.interface import FlowStage, Quote, Tier

TemplateName = Annotated[str, Meta(min_length=1, max_length=64)]
Flow = Annotated[list[FlowStage], Meta(min_length=1, max_length=20)]
LongText = Annotated[str, Meta(max_length=2000)]


class NewTemplateInput(Input, frozen=True, kw_only=True):
    """A master template to make."""

    name: TemplateName
    title: Name
    description: LongText = ""
    flow: Flow


class TemplateInput(Input, frozen=True, kw_only=True):
    """The next version of a master template."""

    title: Name
    description: LongText = ""
    flow: Flow
    active: bool = True


class TemplateView(View, frozen=True, kw_only=True):
    """A version of a master template."""

    id: str
    name: str
    version: int
    title: str
    description: str
    active: bool
    flow: tuple[FlowStage, ...]
    created_at: datetime


class PricedTemplateView(TemplateView, frozen=True, kw_only=True):
    """A template with what it needs and costs at the caller's tier; null where it can't run at present."""

    required_tier: Tier | None
    allowed: bool
    estimated_cost_usd: Decimal | None
    worst_cost_usd: Decimal | None


def template_view(row: MasterTemplateRow, flow: tuple[FlowStage, ...]) -> TemplateView:
    """Show a version of a template."""
    return TemplateView(**_template_fields(row, flow))


def priced_template_view(
    row: MasterTemplateRow, flow: tuple[FlowStage, ...], tier: Tier, found: tuple[Tier, Quote] | None
) -> PricedTemplateView:
    """Show a template with its price for a tier."""
    required, quote = found or (None, None)
    return PricedTemplateView(
        **_template_fields(row, flow),
        required_tier=required,
        allowed=required is not None and required.rank <= tier.rank,
        estimated_cost_usd=None if quote is None else usd(quote.estimated_nano),
        worst_cost_usd=None if quote is None else usd(quote.worst_nano),
    )


def _template_fields(row: MasterTemplateRow, flow: tuple[FlowStage, ...]) -> dict[str, Any]:
    return {
        "id": text_id("tpl", row.id),
        "name": row.name,
        "version": row.version,
        "title": row.title,
        "description": row.description,
        "active": row.active,
        "flow": flow,
        "created_at": row.created_at,
    }
