"""The rest that is pure: tokens, cache, prices, limits, schema rules, faults; nothing is borrowed."""

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.devprovider.prompts import EXPANSION, OUTLINE, TEXT, closed, items_schema, many

from devprovider.faults import fault_of, wrongly_typed
from devprovider.limits import Limits, duration
from devprovider.prices import cost_nano
from devprovider.schema_rules import strict_problem
from devprovider.settings import FAULTS, Faults, Model, Settings, load_settings
from devprovider.tokens import CACHE_STEP, PrefixCache, count_tokens, cut_tokens

ROOT = Path(__file__).parents[3]


def test_the_provider_borrows_nothing_from_the_product() -> None:
    files = sorted((ROOT / "devprovider").rglob("*.py"))
    assert len(files) > 20
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] in ("aifactory", "tests")], file


def test_four_characters_of_english_are_a_token_and_a_cut_breaks_no_character() -> None:
    assert [count_tokens(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]
    assert cut_tokens("abcdefgh", 1) == "abcd"
    assert cut_tokens("abcé", 1) == "abc"


def test_a_prompt_is_cached_up_to_where_it_differs_in_whole_steps() -> None:
    cache, shared = PrefixCache(), "x" * 4 * (10 * CACHE_STEP + 5)
    assert cache.cached_tokens("sim-small", shared + "a" * 4_000, 1_024) == 0
    assert cache.cached_tokens("sim-small", shared + "b" * 4_000, 1_024) == 10 * CACHE_STEP
    assert cache.cached_tokens("sim-large", shared, 1_024) == 0
    assert cache.cached_tokens("sim-small", shared, 10 * CACHE_STEP + 1) == 0
    cache.clear()
    assert cache.cached_tokens("sim-small", shared, 1_024) == 0


def test_a_call_is_rounded_up_once_and_cached_tokens_are_cheaper() -> None:
    model = Model(
        id="sim-x",
        input_nano_per_million=150_000_000,
        cached_input_nano_per_million=75_000_000,
        output_nano_per_million=600_000_000,
    )
    assert cost_nano(model, prompt=1_000, cached=0, completion=100) == 150_000 + 60_000
    assert cost_nano(model, prompt=1_000, cached=400, completion=100) == 90_000 + 30_000 + 60_000
    odd = msgspec.structs.replace(model, input_nano_per_million=1, output_nano_per_million=1)
    assert cost_nano(odd, prompt=1, cached=0, completion=1) == 1


def test_a_bucket_empties_and_refills_evenly() -> None:
    limits, model = Limits(), Model(id="sim-x", requests_per_minute=2, tokens_per_minute=600)
    assert limits.admit(model, 500, now=0).allowed
    refused = limits.admit(model, 200, now=0)
    assert (refused.allowed, refused.short_of, refused.limit, refused.used) == (False, "tokens", 600, 500)
    assert refused.wait_seconds == pytest.approx(10)
    assert limits.admit(model, 200, now=10).allowed
    # Half a minute gives one of two requests back.
    assert limits.admit(model, 1, now=10).short_of == "requests"
    assert limits.admit(model, 1, now=40).allowed


def test_limits_are_told_in_headers() -> None:
    model = Model(id="sim-x", requests_per_minute=60, tokens_per_minute=6_000)
    headers = dict(Limits().admit(model, 600, now=0).headers)
    assert headers == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "5400",
        "x-ratelimit-reset-tokens": "6s",
    }


@pytest.mark.parametrize(("seconds", "text"), [(0.0123, "13ms"), (1.5, "1.5s"), (123, "2m3s"), (60, "1m0s")])
def test_durations_are_written_as_the_original_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("schema", [OUTLINE, EXPANSION, items_schema()])
def test_a_strict_schema_is_taken(schema: dict[str, Any]) -> None:
    assert strict_problem(schema) == ""


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "array", "items": TEXT}, "'type: \"object\"'"),
        (closed(a=TEXT) | {"additionalProperties": True}, "'additionalProperties' is required"),
        (closed(a=TEXT) | {"required": []}, "Missing 'a'"),
        (closed(a=TEXT) | {"required": ["a", "b"]}, "extra required key 'b'"),
        (closed(a=TEXT | {"default": "x"}), "'default' is not permitted"),
        (closed(a={"allOf": [TEXT]}), "'allOf' is not permitted"),
        (closed(a={}), "must have a 'type' key"),
        (closed(a={"type": "array"}), "missing items"),
        (closed(a={"$ref": "#/$defs/B"}), "is not defined"),
        (closed(a=closed(b=TEXT) | {"required": []}), "In context=('properties', 'a')"),
        (closed(a={"enum": [str(n) for n in range(1_001)]}), "1001 enum"),
        (
            closed(a=many({"anyOf": [TEXT, {"type": "object", "properties": {}}]})),
            "('properties', 'a', 'items'",
        ),
    ],
)
def test_a_schema_that_is_not_strict_is_refused_with_the_reason(schema: dict[str, Any], said: str) -> None:
    assert said in strict_problem(schema)


def test_a_schema_deeper_than_ten_levels_is_refused() -> None:
    schema = TEXT
    for _ in range(10):
        schema = closed(a=schema)
    assert "nesting" in strict_problem(schema)


def test_faults_come_at_their_rates_and_anew_at_every_repetition() -> None:
    faults = Faults(**dict.fromkeys(FAULTS, 0.05))
    drawn = [fault_of(faults, "sim-small", 0, "hash", seen) for seen in range(4_000)]
    assert drawn == [fault_of(faults, "sim-small", 0, "hash", seen) for seen in range(4_000)]
    for name in FAULTS:
        assert 140 < drawn.count(name) < 260
    assert drawn != [fault_of(faults, "sim-small", 1, "hash", seen) for seen in range(4_000)]


def test_faults_may_be_of_one_model_only() -> None:
    faults = Faults(hang=1, models=("sim-large",))
    assert fault_of(faults, "sim-small", 1) == ""
    assert fault_of(faults, "sim-large", 1) == "hang"


def test_one_value_has_another_type() -> None:
    text = '{"a":"x","b":[1,2],"c":{"d":true}}'
    for seed in "12345678":
        made = msgspec.json.decode(wrongly_typed(text, seed))
        changed = [
            type(made.get("a")) is not str,
            type(made.get("b")) is not list,
            type(made.get("c")) is not dict or type(made["c"]["d"]) is not bool,
        ]
        assert changed.count(True) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.toml", 'seed = 7\n[faults]\ndrop = 0.5\n[[models]]\nid = "sim-one"\n'),
        ("s.json", '{"seed": 7, "faults": {"drop": 0.5}, "models": [{"id": "sim-one"}]}'),
    ],
)
def test_settings_come_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    settings = load_settings(tmp_path / name)
    assert settings == Settings(seed=7, faults=Faults(drop=0.5), models=(Model(id="sim-one"),))


def test_the_providers_file_has_the_servers_models_at_its_prices() -> None:
    providers = msgspec.toml.decode((ROOT / "devprovider" / "providers.toml").read_bytes())
    listed = providers["providers"]["simulated"]["models"]
    assert providers["providers"]["simulated"]["simulated"] is True
    assert list(listed) == [model.id for model in Settings().models]
    for model in Settings().models:
        told = listed[model.id]
        assert (told["context_tokens"], told["max_output_tokens"]) == (
            model.context_tokens,
            model.max_output_tokens,
        )
        assert round(told["input_usd_per_million"] * 10**9) == model.input_nano_per_million
        assert round(told["cached_input_usd_per_million"] * 10**9) == model.cached_input_nano_per_million
        assert round(told["output_usd_per_million"] * 10**9) == model.output_nano_per_million
