"""What the simulated provider can be told: models, prices, limits, latency, faults, flaws."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from devprovider.writing.flaws import FLAWS

Rate = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=3600)]
Count = Annotated[int, Meta(ge=0)]
MODEL_PREFIX = "sim-"


class SettingsError(ValueError):
    """Settings that cannot be meant."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base: closed and immutable; names as in the files, snake_case."""


class Model(_Part, frozen=True, kw_only=True):
    """A simulated model; prices in nano-dollars per million tokens, 0 per minute means no limit."""

    id: Annotated[str, Meta(pattern=f"^{MODEL_PREFIX}", max_length=60)]
    context_tokens: Count = 128_000
    max_output_tokens: Count = 8_192
    input_nano_per_million: Count = 150_000_000
    cached_input_nano_per_million: Count = 75_000_000
    output_nano_per_million: Count = 600_000_000
    requests_per_minute: Count = 0
    tokens_per_minute: Count = 0


class Latency(_Part, frozen=True, kw_only=True):
    """How slowly answers come; 0 tokens a second means at once, jitter is a share of either time."""

    first_token_seconds: Seconds = 0
    tokens_per_second: Annotated[float, Meta(ge=0)] = 0
    jitter: Rate = 0


class Faults(_Part, frozen=True, kw_only=True):
    """How often which fault is met, at most one a call. ``models``: the only ones with faults, if any."""

    rate_limited: Rate = 0
    server_error: Rate = 0
    hang: Rate = 0
    drop: Rate = 0
    truncated: Rate = 0
    wrong_type: Rate = 0
    garbage: Rate = 0
    fenced: Rate = 0
    refusal: Rate = 0
    retry_after: Rate = 0.5
    retry_after_seconds: Seconds = 1
    hang_seconds: Seconds = 600
    models: tuple[str, ...] = ()


FAULTS = (
    "rate_limited",
    "server_error",
    "hang",
    "drop",
    "truncated",
    "wrong_type",
    "garbage",
    "fenced",
    "refusal",
)
DEFAULT_MODELS = (
    Model(id="sim-small"),
    Model(
        id="sim-medium",
        max_output_tokens=16_384,
        input_nano_per_million=500_000_000,
        cached_input_nano_per_million=125_000_000,
        output_nano_per_million=2_000_000_000,
    ),
    Model(
        id="sim-large",
        max_output_tokens=32_768,
        input_nano_per_million=2_500_000_000,
        cached_input_nano_per_million=1_250_000_000,
        output_nano_per_million=10_000_000_000,
    ),
)


class Settings(_Part, frozen=True, kw_only=True):
    """Everything.

    ``quality``: rates by flaw's name; ``script``: faults of the next calls, "" for none;
    ``schema_cached_first``: a schema is cached before the messages, so that another one shares nothing.
    """

    seed: int = 0
    key: str = ""
    models: tuple[Model, ...] = DEFAULT_MODELS
    latency: Latency = Latency()
    faults: Faults = Faults()
    quality: dict[str, Rate] = {}
    script: tuple[str, ...] = ()
    gullible: bool = False
    cache_least_tokens: Count = 1_024
    schema_cached_first: bool = False
    max_request_bytes: Count = 8 * 2**20

    def model(self, name: str) -> Model | None:
        """The model of that id, if there is one."""
        return next((model for model in self.models if model.id == name), None)


def load_settings(path: Path) -> Settings:
    """Settings from a TOML or JSON file; raises SettingsError with the reason."""
    text = path.read_text("utf-8")
    try:
        values = tomllib.loads(text) if path.suffix == ".toml" else msgspec.json.decode(text)
    except (tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    return changed(Settings(), values)


def changed(settings: Settings, values: Any) -> Settings:
    """The settings with some values replaced; objects are merged, lists replaced, rates checked."""
    try:
        merged = msgspec.convert(_merged(msgspec.to_builtins(settings), values), Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(str(error)) from error
    unknown = sorted(merged.quality.keys() - FLAWS.keys())
    if unknown:
        raise SettingsError(f"No such flaw: {', '.join(unknown)}; there are {', '.join(FLAWS)}")
    odd = sorted(set(merged.script) - {*FAULTS, ""})
    if odd:
        raise SettingsError(f"No such fault: {', '.join(odd)}; there are {', '.join(FAULTS)}")
    if sum(getattr(merged.faults, name) for name in FAULTS) > 1 + 1e-9:
        raise SettingsError("The rates of faults add up to more than 1")
    return merged


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {name: _merged(old.get(name), value) for name, value in new.items()}
    return new
