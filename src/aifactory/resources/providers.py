"""Providers as data: what one is made of, the checks on it, the TOML file, the ready stanza. Pure."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from aifactory.kernel.money import nano
from aifactory.kernel.problems import has_bad_text
from aifactory.resources.interface import SchemaProfile, StructuredOutput

MAX_MODELS = 100
LOCAL = "local"  #: the offline generator, which is no provider that anyone can change

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,199}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_KEY_PART = re.compile(r"(?=[A-Z0-9]*[0-9])[A-Z0-9]{12,}|[A-Z0-9]{25,}")
_MOST_USD = Decimal(1_000_000)

Tokens = Annotated[int, Meta(ge=1, le=100_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Text = Annotated[str, Meta(max_length=200)]


class NewModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of a provider; prices in dollars per million tokens, all left out: found by its name."""

    pool: str = "default"
    context_tokens: Tokens = 128_000
    max_output_tokens: Tokens = 4096
    input_usd_per_million: Decimal | None = None
    cached_input_usd_per_million: Decimal | None = None
    output_usd_per_million: Decimal | None = None
    active: bool = True


class NewProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider with its models by name; the key is named, never given."""

    title: Text = ""
    base_url: str
    api_key_variable: str | None = None
    profile: SchemaProfile = SchemaProfile.OPENAI
    structured: StructuredOutput = StructuredOutput.JSON_SCHEMA
    streaming: bool = True
    connect_seconds: Seconds = 10.0
    first_token_seconds: Seconds = 60.0
    idle_seconds: Seconds = 30.0
    simulated: bool = False
    active: bool = True
    models: dict[str, NewModel] = {}

    def key_present(self, environ: Mapping[str, str]) -> bool:
        """Whether the provider has the key that it needs; one that names none needs none."""
        return has_key(self.api_key_variable, environ)


class NewPool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool to make if there is none of this name; one that never refilled would stay shut once empty."""

    capacity: Annotated[int, Meta(ge=1, le=10**12)]
    refill_per_second: Annotated[int, Meta(ge=1, le=10**9)]
    unit: Annotated[str, Meta(min_length=1, max_length=32)] = "tokens"
    requests_per_minute: Annotated[int, Meta(ge=1, le=10**6)] | None = None


class ProvidersFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file: providers and pools by name."""

    providers: dict[str, NewProvider] = {}
    pools: dict[str, NewPool] = {}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one field, and what to do; never the value, which may be a secret."""

    path: tuple[str, ...]
    code: str
    message: str


class BadProviders(Exception):
    """The file can't be used; the text names the line or the field and says what to do."""


def has_key(variable: str | None, environ: Mapping[str, str]) -> bool:
    """Tell whether the environment has what a provider needs."""
    return variable is None or bool(environ.get(variable, "").strip())


def read_providers(text: str) -> ProvidersFile:
    """Read the file. Raises BadProviders."""
    try:
        tables = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise BadProviders(f"It is not TOML: {error}. Correct that line.") from error
    for key in tables.keys() - {"providers", "pools"}:
        raise BadProviders(f"{dotted((key,))}: The file has tables [providers.NAME] and [pools.NAME] only.")
    file = ProvidersFile(
        providers={name: _provider(table, path) for name, path, table in _tables(tables, ("providers",))},
        pools={name: _as(NewPool, table, path) for name, path, table in _tables(tables, ("pools",))},
    )
    for path, fault in _file_faults(file):
        raise BadProviders(f"{dotted((*path, *fault.path))}: {fault.message}")
    return file


def _provider(table: dict[str, Any], path: tuple[str, ...]) -> NewProvider:
    models = {name: _as(NewModel, inner, below) for name, below, inner in _tables(table, (*path, "models"))}
    rest = {name: value for name, value in table.items() if name != "models"}
    return msgspec.structs.replace(_as(NewProvider, rest, path), models=models)


def _tables(within: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Yield each table of tables with its name and path."""
    found = within.get(path[-1], {})
    for key, table in found.items() if isinstance(found, dict) else ((None, found),):
        below = path if key is None else (*path, key)
        if key is None or not isinstance(table, dict):
            raise BadProviders(f"{dotted(below)}: This must be a table, like [{dotted(path)}.NAME].")
        yield key, below, table


_T = TypeVar("_T")


def _as(kind: type[_T], table: dict[str, Any], path: tuple[str, ...]) -> _T:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        message, _, field = str(error).partition(" - at `$.")
        place = dotted((*path, field.rstrip("`")) if field else path)
        known = ", ".join(field.name for field in msgspec.structs.fields(kind))  # type: ignore[arg-type]
        raise BadProviders(f"{place}: {message}. Correct it; the fields are {known}.") from error


def _file_faults(file: ProvidersFile) -> Iterator[tuple[tuple[str, ...], Fault]]:
    for name, pool in file.pools.items():
        for fault in (*_check_name((), name), *_check_unit(pool.unit)):
            yield ("pools", name), fault
    for name, provider in file.providers.items():
        for fault in check_provider(name, provider):
            yield ("providers", name), fault


def dotted(path: tuple[str, ...]) -> str:
    """Return a path as TOML writes it: ``providers.a.models."b-1.5".pool``."""
    return ".".join(step if re.fullmatch(r"[A-Za-z0-9_-]+", step) else f'"{step}"' for step in path)


# Checks that both the file and the API go through.


def check_provider(name: str, provider: NewProvider) -> Iterator[Fault]:
    """Yield what is wrong with a provider, beyond types and bounds."""
    yield from _check_name((), name)
    if name == LOCAL:
        message = "This name belongs to the offline generator; choose another one."
        yield Fault(path=(), code="reserved_name", message=message)
    if has_bad_text(provider.title):
        yield Fault(path=("title",), code="control_character", message="Remove control characters.")
    yield from _check_url(provider.base_url)
    if provider.api_key_variable is not None:
        yield from _check_variable(provider.api_key_variable)
    if len(provider.models) > MAX_MODELS:
        yield Fault(path=("models",), code="too_many", message=f"At most {MAX_MODELS} models are taken.")
    for model, entry in provider.models.items():
        yield from _check_model(model, entry)


def _check_name(path: tuple[str, ...], name: str) -> Iterator[Fault]:
    if not _NAME.fullmatch(name):
        message = "A name has a-z, 0-9, _ . - only, at most 64, and starts with a letter."
        yield Fault(path=path, code="bad_name", message=message)


def _check_unit(unit: str) -> Iterator[Fault]:
    if has_bad_text(unit):
        yield Fault(path=("unit",), code="control_character", message="Remove control characters.")


def _check_url(text: str) -> Iterator[Fault]:
    def fault(message: str) -> Fault:
        return Fault(path=("base_url",), code="bad_url", message=message)

    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or len(text) > 500 or not text.isascii() or re.search(r"[\s\x00-\x1f\x7f\\]", text):
        yield fault("Give an address like https://api.example.com/v1 (http or https).")
    elif "@" in url.netloc:
        yield fault("Take the user name and password out; name the variable that holds the key instead.")
    elif url.query or url.fragment or "?" in text or "#" in text:
        yield fault("Take out what follows ? or #; name the variable that holds a key instead.")


def _check_variable(text: str) -> Iterator[Fault]:
    message = ""
    if not _VARIABLE.fullmatch(text) or any(map(_KEY_PART.fullmatch, text.split("_"))):
        message = (
            "Give the name of an environment variable, like OPENAI_API_KEY (A-Z, 0-9, _), never the key "
            "itself. If this was a key, replace it at the provider."
        )
    elif text.startswith("AIFACTORY_"):
        message = "A setting of the AI Factory is no provider's key; use a variable of its own."
    if message:
        yield Fault(path=("api_key_variable",), code="bad_variable", message=message)


def _check_model(model: str, entry: NewModel) -> Iterator[Fault]:
    path = ("models", model)
    if not _MODEL.fullmatch(model):
        message = "A model's name has letters, digits and _ . : / @ + - only, at most 200."
        yield Fault(path=path, code="bad_name", message=message)
    yield from _check_name((*path, "pool"), entry.pool)
    if entry.max_output_tokens > entry.context_tokens:
        message = "The output can't be longer than the context."
        yield Fault(path=(*path, "max_output_tokens"), code="out_of_range", message=message)
    for name in _PRICES:
        price = getattr(entry, name)
        if price is not None and not (price.is_finite() and 0 <= price <= _MOST_USD):
            message = f"A price is 0 to {_MOST_USD:,} dollars per million tokens."
            yield Fault(path=(*path, name), code="out_of_range", message=message)
    if (entry.input_usd_per_million is None) != (entry.output_usd_per_million is None) or (
        entry.input_usd_per_million is None and entry.cached_input_usd_per_million is not None
    ):
        message = "State the prices of input and output, or none at all to have them looked up."
        yield Fault(path=path, code="half_a_price", message=message)


_PRICES = ("input_usd_per_million", "cached_input_usd_per_million", "output_usd_per_million")


# Prices.


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """A model's price, nano-dollars per million tokens, and where it is from."""

    input_nano: int
    cached_nano: int
    output_nano: int
    source: str


def stated_price(entry: NewModel, source: str) -> ModelPrice | None:
    """Return the price that an entry states itself; cached input costs as much as other input unless said."""
    if entry.input_usd_per_million is None or entry.output_usd_per_million is None:
        return None
    cached = entry.cached_input_usd_per_million
    return ModelPrice(
        input_nano=nano(entry.input_usd_per_million),
        cached_nano=nano(entry.input_usd_per_million if cached is None else cached),
        output_nano=nano(entry.output_usd_per_million),
        source=source,
    )


NO_PRICE = "Its price is unknown. State the prices of input and output (0 for a server of your own)."


# The ready stanza.

OPENAI = "openai"
OPENAI_KEY = "OPENAI_API_KEY"


def _openai_model(context_tokens: int, max_output_tokens: int) -> NewModel:
    return NewModel(context_tokens=context_tokens, max_output_tokens=max_output_tokens)


# Models that don't reason: a hidden chain of thought is paid as output and eats the output limit, so such a
# model is for an operator to add on purpose. All are on `default`: the pool `openai-gpt-4` holds 10,000
# units, fewer than one ordinary step (a source, or a whole outline) may need, so that it would be refused.
OPENAI_STANZA = NewProvider(
    title="OpenAI",
    base_url="https://api.openai.com/v1",
    api_key_variable=OPENAI_KEY,
    models={
        "gpt-4.1-nano": _openai_model(1_000_000, 32_768),
        "gpt-4o-mini": _openai_model(128_000, 16_384),
        "gpt-4.1-mini": _openai_model(1_000_000, 32_768),
        "gpt-4.1": _openai_model(1_000_000, 32_768),
        "gpt-4o": _openai_model(128_000, 16_384),
    },
)
