"""The providers file, the checks on a provider, and prices that are stated or looked up."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from aifactory.kernel.errors import Invalid
from aifactory.resources import prices_found, provider_store
from aifactory.resources.interface import SchemaProfile, StructuredOutput
from aifactory.resources.provider_store import price_input, price_models, read_start
from aifactory.resources.providers import (
    OPENAI_STANZA,
    BadProviders,
    NewModel,
    NewProvider,
    check_provider,
    read_providers,
    stated_price,
)

WHOLE = """
[providers.simulated]
title = "Simulated provider"
base_url = "http://127.0.0.1:8500/v1"
api_key_variable = "SIMULATED_API_KEY"
profile = "gemini"
structured = "json_object"
streaming = false
connect_seconds = 1.5
first_token_seconds = 60
idle_seconds = 30
simulated = true
active = false

[providers.simulated.models."sim-1.5/small"]
pool = "simulated"
context_tokens = 64000
max_output_tokens = 8192
input_usd_per_million = 0.15
cached_input_usd_per_million = 0.075
output_usd_per_million = 1

[pools.simulated]
unit = "tokens"
capacity = 2000000
refill_per_second = 100000
requests_per_minute = 6000
"""
HERE = '[providers.a]\nbase_url = "http://localhost/v1"\n'
MODEL = HERE + '[providers.a.models."m-1.5"]\n'
FREE = NewModel(input_usd_per_million=Decimal(0), output_usd_per_million=Decimal(0))


def test_every_field_of_the_file_is_read() -> None:
    file = read_providers(WHOLE)
    provider = file.providers["simulated"]
    assert (provider.profile, provider.structured) == (SchemaProfile.GEMINI, StructuredOutput.JSON_OBJECT)
    assert (provider.connect_seconds, provider.streaming, provider.active) == (1.5, False, False)
    model = provider.models["sim-1.5/small"]
    assert (model.pool, model.context_tokens, model.max_output_tokens) == ("simulated", 64_000, 8192)
    assert model.input_usd_per_million == Decimal("0.15")
    assert file.pools["simulated"].requests_per_minute == 6000
    assert read_providers("") == type(file)()


def test_stated_prices_are_exact_and_cached_input_costs_like_input_unless_said() -> None:
    model = read_providers(WHOLE).providers["simulated"].models["sim-1.5/small"]
    price = stated_price(model, "a test")
    assert price is not None
    assert (price.input_nano, price.cached_nano, price.output_nano) == (150_000_000, 75_000_000, 10**9)
    plain = stated_price(msgspec.structs.replace(model, cached_input_usd_per_million=None), "a test")
    assert plain is not None
    assert plain.cached_nano == 150_000_000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = [", "end of document"),
        ("\n[providers.a\n", "line 2"),
        ("models = 1", "models"),
        ("providers = 1", "providers"),
        ("[providers]\na = 1", "providers.a: "),
        ('[providers.a]\nbase_url = 1\n[providers.b]\nbase_url = "http://x"', "providers.a.base_url: "),
        ("[providers.a]", "base_url"),
        (HERE + "key = 1", "providers.a: Object contains unknown field `key`"),
        (HERE + 'profile = "other"', "providers.a.profile: "),
        (HERE + "connect_seconds = 0", "providers.a.connect_seconds: "),
        (HERE + "idle_seconds = nan", "providers.a.idle_seconds: "),
        (HERE + 'title = "\\u0000"', "providers.a.title: "),
        (HERE + "models = 3", "providers.a.models: "),
        (MODEL + "pool = 3", 'providers.a.models."m-1.5".pool: '),
        (MODEL + 'pool = "no pool"', 'providers.a.models."m-1.5".pool: '),
        (MODEL + "max_output_tokens = 0", 'providers.a.models."m-1.5".max_output_tokens: '),
        (MODEL + "max_output_tokens = 200000", 'providers.a.models."m-1.5".max_output_tokens: '),
        (MODEL + "input_usd_per_million = 1", 'providers.a.models."m-1.5": State the prices'),
        (MODEL + "cached_input_usd_per_million = 1", 'providers.a.models."m-1.5": State the prices'),
        (
            MODEL + "input_usd_per_million = -1\noutput_usd_per_million = 1",
            'providers.a.models."m-1.5".input_usd_per_million: ',
        ),
        (
            MODEL + "input_usd_per_million = 1\noutput_usd_per_million = inf",
            'providers.a.models."m-1.5".output_usd_per_million: ',
        ),
        ("[pools.p]\ncapacity = 1", "refill_per_second"),
        ("[pools.p]\ncapacity = 0\nrefill_per_second = 1", "pools.p.capacity: "),
        ("[pools.p]\ncapacity = 1\nrefill_per_second = 0", "pools.p.refill_per_second: "),
        ("[pools.'p q']\ncapacity = 1\nrefill_per_second = 1", 'pools."p q": '),
        ("[providers.local]\nbase_url = 'http://x'", "providers.local: "),
    ],
)
def test_a_fault_names_its_line_or_field(text: str, told: str) -> None:
    with pytest.raises(BadProviders) as refused:
        read_providers(text)
    assert told in str(refused.value)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        "api.example.com/v1",
        "ftp://example.com",
        "http://",
        "http:///v1",
        "http://example.com:99999/v1",
        "http://[::1/v1",
        "http://user:hunter2@example.com/v1",
        "http://hunter2@example.com/v1",
        "http://example.com/v1?key=hunter2",
        "http://example.com/v1#hunter2",
        "http://exam ple.com/",
        "http://example.com/\nX: y",
        "",
        "http://" + "x" * 600,
    ],
)
def test_an_address_is_http_without_credentials_and_never_repeated(text: str) -> None:
    faults = list(check_provider("a", NewProvider(base_url=text)))
    assert [fault.path for fault in faults] == [("base_url",)]
    assert "hunter2" not in faults[0].message


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-abcdefghijklmnop",
        "AKIAIOSFODNN7EXAMPLE",
        "KEY_0123456789AB",
        "lower_case_key",
        "WITH SPACE",
        "AIFACTORY_DATABASE_URL",
        "1KEY",
        "",
        "X" * 65,
    ],
)
def test_a_variable_is_named_and_what_looks_like_a_key_is_refused_without_repeating_it(text: str) -> None:
    provider = NewProvider(base_url="https://example.com/v1", api_key_variable=text)
    faults = list(check_provider("a", provider))
    assert [fault.code for fault in faults] == ["bad_variable"]
    assert not text or text not in faults[0].message


@pytest.mark.parametrize("text", ["OPENAI_API_KEY", "GROQ_KEY_2", "AZURE_OPENAI_API_KEY_EASTUS2", "K"])
def test_ordinary_variables_are_taken(text: str) -> None:
    assert not list(check_provider("a", NewProvider(base_url="https://x/v1", api_key_variable=text)))


def test_a_key_is_present_when_its_variable_has_a_value_or_none_is_named() -> None:
    named = NewProvider(base_url="https://x/v1", api_key_variable="A_KEY")
    assert not named.key_present({})
    assert not named.key_present({"A_KEY": " "})
    assert named.key_present({"A_KEY": "x"})
    assert NewProvider(base_url="https://x/v1").key_present({})


def test_known_models_have_exact_prices_with_their_source() -> None:
    found = prices_found.find_price("openai", "gpt-4o-mini")
    assert found is not None
    assert (found.input_nano, found.cached_nano, found.output_nano) == (150_000_000, 75_000_000, 600_000_000)
    assert found.source.startswith("genai-prices ")
    by_address = prices_found.find_price("my-proxy", "gpt-4o-mini", "https://api.openai.com/v1")
    assert by_address == found
    assert prices_found.find_price("my-proxy", "gpt-4o-mini", "http://localhost:1/v1") is None
    assert prices_found.find_price("openai", "no-such-model") is None


def test_of_tiered_prices_the_dearest_counts() -> None:
    from genai_prices.types import Tier, TieredPrices

    tiers = TieredPrices(base=Decimal("3"), tiers=[Tier(start=200_000, price=Decimal("6.5"))])
    assert prices_found._dearest(tiers) == 6_500_000_000
    assert prices_found._dearest(Decimal("0.0375")) == 37_500_000


def test_a_price_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    look_up = prices_found._look_up

    def counted(model: str, provider: str | None, base_url: str | None) -> object:
        asked.append(model)
        return look_up(model, provider, base_url)

    monkeypatch.setattr(prices_found, "_look_up", counted)
    prices_found.find_price.cache_clear()
    assert prices_found.find_price("openai", "gpt-4o") == prices_found.find_price("openai", "gpt-4o")
    assert asked == ["gpt-4o"]


def test_every_model_of_the_ready_stanza_is_valid_and_has_a_known_price() -> None:
    assert not list(check_provider("openai", OPENAI_STANZA))
    priced, faults = price_models("openai", OPENAI_STANZA, stated="built in")
    assert not faults
    assert list(priced) == list(OPENAI_STANZA.models)
    assert {model.pool for model in OPENAI_STANZA.models.values()} == {"default"}


def test_a_model_without_any_price_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "providers.toml"
    path.write_text(MODEL)
    with pytest.raises(BadProviders, match=r'providers\.a\.models\."m-1\.5": Its price is unknown.*0 for'):
        read_start(path, {})
    path.write_text(MODEL + "input_usd_per_million = 0\noutput_usd_per_million = 0\n")
    priced = read_start(path, {}).models["a"]["m-1.5"][1]
    assert (priced.input_nano, priced.output_nano, priced.source) == (0, 0, "providers file")


def test_the_stanza_comes_along_only_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(read_start(None, {"OPENAI_API_KEY": "k"}).openai or {}) == set(OPENAI_STANZA.models)

    def never(*_: object) -> None:
        raise AssertionError("no price is looked up without a key")

    monkeypatch.setattr(provider_store, "find_price", never)
    assert read_start(None, {}).openai is None


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_can_not_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "providers.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadProviders, match=r"can't be read: No such file|not UTF-8"):
        read_start(path, {})


def test_a_fault_of_a_body_is_a_json_pointer() -> None:
    provider = NewProvider(
        base_url="http://localhost/v1",
        models={"ok": FREE, "bad": msgspec.structs.replace(FREE, context_tokens=5)},
    )
    with pytest.raises(Invalid) as refused:
        price_input("a", provider)
    assert [fault.pointer for fault in refused.value.errors] == ["/models/1/maxOutputTokens"]
    with pytest.raises(Invalid) as refused:
        price_input("a", NewProvider(base_url="http://localhost/v1", models={"unknown": NewModel()}))
    assert [(fault.pointer, fault.code) for fault in refused.value.errors] == [("/models/0", "unknown_price")]
