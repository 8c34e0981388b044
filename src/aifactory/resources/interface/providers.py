"""Model providers as workers see them: where they answer, what they take, what their answers say."""

from enum import StrEnum

import msgspec


class SchemaProfile(StrEnum):
    """Whose rules for structured output an endpoint follows."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


class StructuredOutput(StrEnum):
    """How an endpoint is told the shape of an answer: a schema it enforces, JSON only, or in words only."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    TEXT = "text"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a provider answers and how to speak to it; the key is named, never held.

    ``base_url`` None means OpenAI's own. ``first_token_seconds`` bounds the wait for the first byte of an
    answer, ``idle_seconds`` every later pause; without streaming, the job's own time limit holds.
    """

    provider: str
    base_url: str | None = None
    api_key_variable: str | None = None
    profile: SchemaProfile = SchemaProfile.OPENAI
    structured: StructuredOutput = StructuredOutput.JSON_SCHEMA
    streaming: bool = True
    connect_seconds: float = 10.0
    first_token_seconds: float = 60.0
    idle_seconds: float = 30.0
    simulated: bool = False


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be used now: its provider is active and has its key. Prices are nano-dollars per
    million tokens and only rank models; what a call costs is the ledger's business.

    ``reachable`` is False while the provider's circuit is open.
    """

    provider: str
    model: str
    pool: str
    context_tokens: int
    max_output_tokens: int
    input_nano_per_million: int
    output_nano_per_million: int
    simulated: bool = False
    reachable: bool = True


class ModelChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The models that can be used now, cheapest first, and where to start among those that are allowed:
    with the best one for work that is urgent or marked ``accuracy: high``, else with the cheapest.
    """

    models: tuple[Model, ...] = ()
    best_first: bool = False


class Health(StrEnum):
    """What a call says about its provider's health."""

    GOOD = "good"
    BAD = "bad"
    REFUSED_KEY = "refused_key"
    UNKNOWN = "unknown"


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says about its provider and pool, beside its content.

    ``blocked_seconds``: start nothing in the hop's pool until then (429, Retry-After).
    ``remaining_units``, ``remaining_requests``: what the rate headers say is left right now.
    """

    health: Health = Health.UNKNOWN
    blocked_seconds: float | None = None
    remaining_units: int | None = None
    remaining_requests: int | None = None
    error: str = ""
