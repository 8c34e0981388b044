"""What the routes of providers take and give."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aifactory.kernel.errors import invalid
from aifactory.kernel.money import usd
from aifactory.resources.circuit import circuit_state
from aifactory.resources.gates import PoolGate
from aifactory.resources.interface import SchemaProfile, StructuredOutput
from aifactory.resources.pool_schemas import pool_state_of
from aifactory.resources.providers import MAX_MODELS, NewModel, NewProvider, Text, Tokens
from aifactory.resources.schemas import PoolState, View

Millis = Annotated[int, Meta(ge=1, le=3_600_000)]
Price = Decimal | None
LongText = Annotated[str, Meta(min_length=1, max_length=500)]


class ModelInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A model of a provider; without prices they are looked up."""

    model: LongText
    pool: LongText = "default"
    context_tokens: Tokens = 128_000
    max_output_tokens: Tokens = 4096
    input_usd_per_million: Price = None
    cached_input_usd_per_million: Price = None
    output_usd_per_million: Price = None
    active: bool = True


class ProviderInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A provider with all of its models; ``apiKeyVariable`` names an environment variable."""

    title: Text = ""
    base_url: LongText
    api_key_variable: LongText | None = None
    profile: SchemaProfile = SchemaProfile.OPENAI
    structured: StructuredOutput = StructuredOutput.JSON_SCHEMA
    streaming: bool = True
    connect_ms: Millis = 10_000
    first_token_ms: Millis = 60_000
    idle_ms: Millis = 30_000
    simulated: bool = False
    active: bool = True
    models: Annotated[list[ModelInput], Meta(max_length=MAX_MODELS)] = []


class ModelView(View, frozen=True, kw_only=True):
    """A model: its pool, its limits, its price with where and when it was found."""

    model: str
    pool: str
    context_tokens: int
    max_output_tokens: int
    input_usd_per_million: Decimal
    cached_input_usd_per_million: Decimal
    output_usd_per_million: Decimal
    price_source: str
    price_at: datetime
    active: bool


class CircuitView(View, frozen=True, kw_only=True):
    """A circuit: closed, open until a time, or half_open: the next call is the probe."""

    state: str
    open_until: datetime | None
    changed_at: datetime | None
    failures: int
    openings: int


class ProviderView(View, frozen=True, kw_only=True):
    """A provider, never with its key; ``readOnly`` says that it is changed elsewhere."""

    name: str
    title: str
    source: str
    read_only: bool
    active: bool
    simulated: bool
    base_url: str | None
    api_key_variable: str | None
    key_present: bool
    profile: SchemaProfile
    structured: StructuredOutput
    streaming: bool
    connect_ms: int
    first_token_ms: int
    idle_ms: int
    version: int
    circuit: CircuitView
    last_error: str
    last_error_at: datetime | None
    models: list[ModelView]
    pools: list[PoolState]


def provider_of(data: ProviderInput) -> NewProvider:
    """Return what a body describes. Raises Invalid for a model that is named twice."""
    models: dict[str, NewModel] = {}
    for index, given in enumerate(data.models):
        if given.model in models:
            raise invalid(f"/models/{index}/model", "duplicate", "This model is named twice; name it once.")
        fields = msgspec.structs.asdict(given)
        del fields["model"]
        models[given.model] = NewModel(**fields)
    fields = msgspec.structs.asdict(data)
    seconds = {
        f"{name}_seconds": fields.pop(f"{name}_ms") / 1000 for name in ("connect", "first_token", "idle")
    }
    return NewProvider(**(fields | seconds | {"models": models}))


def model_view(row: Any) -> ModelView:
    """Return a model's row as it leaves."""
    return ModelView(
        model=row["model"],
        pool=row["pool"],
        context_tokens=row["context_tokens"],
        max_output_tokens=row["max_output_tokens"],
        input_usd_per_million=usd(row["input_nano_per_million"]),
        cached_input_usd_per_million=usd(row["cached_nano_per_million"]),
        output_usd_per_million=usd(row["output_nano_per_million"]),
        price_source=row["price_source"],
        price_at=row["price_at"],
        active=row["active"],
    )


def provider_view(
    row: Any,
    models: Sequence[Any],
    pools: Sequence[tuple[PoolGate, str]],
    *,
    read_only: bool,
    now: datetime,
) -> ProviderView:
    """Return a provider's row with its own models and their pools as it leaves."""
    own = [model for model in models if model["provider"] == row["provider"]]
    used = {model["pool"] for model in own}
    return ProviderView(
        name=row["provider"],
        title=row["title"],
        source=row["source"],
        read_only=read_only,
        active=row["active"],
        simulated=row["simulated"],
        base_url=row["base_url"],
        api_key_variable=row["api_key_variable"],
        key_present=row["key_present"],
        profile=SchemaProfile(row["profile"]),
        structured=StructuredOutput(row["structured"]),
        streaming=row["streaming"],
        connect_ms=round(row["connect_seconds"] * 1000),
        first_token_ms=round(row["first_token_seconds"] * 1000),
        idle_ms=round(row["idle_seconds"] * 1000),
        version=row["version"],
        circuit=CircuitView(
            state=circuit_state(row, now),
            open_until=row["circuit_until"],
            changed_at=row["circuit_changed_at"],
            failures=row["failures"],
            openings=row["openings"],
        ),
        last_error=row["last_error"],
        last_error_at=row["last_error_at"],
        models=[model_view(model) for model in own],
        pools=[pool_state_of(gate, unit) for gate, unit in pools if gate.pool in used],
    )


def defined_by(view: ProviderView) -> dict[str, Any]:
    """Return what an operator can change of a provider, for the audit log."""
    kept = ("title", "base_url", "api_key_variable", "profile", "structured", "streaming", "connect_ms",
            "first_token_ms", "idle_ms", "simulated", "active", "source", "version", "models")  # fmt: skip
    return {name: msgspec.to_builtins(getattr(view, name)) for name in kept}
