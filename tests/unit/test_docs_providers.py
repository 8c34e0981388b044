"""The page on providers: its examples can be used as they stand, and nothing is left out."""

import re
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from aifactory.granulation.llm_refusals import _KINDS
from aifactory.resources.interface import SchemaProfile, StructuredOutput
from aifactory.resources.provider_store import price_models
from aifactory.resources.providers import (
    OPENAI_STANZA,
    NewModel,
    NewPool,
    NewProvider,
    ProvidersFile,
    read_providers,
)
from devprovider import settings as simulated

PAGE = (Path(__file__).parents[2] / "docs" / "providers.md").read_text("utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
COMPLETE = BLOCKS[0]
SEEDED_POOLS = {"default"}


@pytest.mark.parametrize("block", BLOCKS, ids=[str(at) for at in range(len(BLOCKS))])
def test_every_stanza_is_taken_and_its_pools_are_there(block: str) -> None:
    file = read_providers(block)
    assert file.providers
    for provider in file.providers.values():
        assert provider.models
        assert {model.pool for model in provider.models.values()} <= {*file.pools, *SEEDED_POOLS}


@pytest.mark.parametrize("block", BLOCKS, ids=[str(at) for at in range(len(BLOCKS))])
def test_every_model_states_its_price_or_has_a_known_one(block: str) -> None:
    for name, provider in read_providers(block).providers.items():
        priced, faults = price_models(name, provider, stated="stated")
        assert priced
        assert not faults


@pytest.mark.parametrize("kind", [NewProvider, NewModel, NewPool])
def test_the_complete_stanza_has_every_field(kind: type[msgspec.Struct]) -> None:
    named = set(re.findall(r"^(\w+) = ", COMPLETE, re.MULTILINE))
    fields = {field.name for field in msgspec.structs.fields(kind)} - {"models"}
    assert fields <= named


def test_what_the_complete_stanza_shows_as_defaults_are_the_defaults() -> None:
    file: ProvidersFile = read_providers(COMPLETE)
    (provider,) = file.providers.values()
    (model,) = provider.models.values()
    (pool,) = file.pools.values()
    plain = NewProvider(
        base_url=provider.base_url, api_key_variable=provider.api_key_variable, models=provider.models
    )
    assert provider == plain
    assert model == NewModel(
        input_usd_per_million=Decimal("2.50"),
        cached_input_usd_per_million=Decimal("1.25"),
        output_usd_per_million=Decimal("10.00"),
    )
    limited = NewPool(capacity=pool.capacity, refill_per_second=pool.refill_per_second)
    assert msgspec.structs.replace(pool, requests_per_minute=None) == limited


@pytest.mark.parametrize(
    "word",
    [
        *SchemaProfile,
        *StructuredOutput,
        *OPENAI_STANZA.models,
        *(code for code in _KINDS if code != "no_api_key"),
        *simulated.FAULTS,
        *(f.name for f in msgspec.structs.fields(simulated.Settings) if f.name != "max_request_bytes"),
        *(f.name for f in msgspec.structs.fields(simulated.Latency)),
        *(f.name for f in msgspec.structs.fields(simulated.Faults)),
    ],
)
def test_every_choice_is_named(word: str) -> None:
    assert f"`{word}`" in PAGE
