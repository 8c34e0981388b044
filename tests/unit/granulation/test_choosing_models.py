"""Which models a stage may use: routes, substitutes and the offline generator."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from aifactory.granulation.model.choice import (
    DEARER_AT_MOST,
    HOPS_AT_MOST,
    ROUTES_AT_MOST,
    Generator,
    choose_generator,
)
from aifactory.granulation.parameters import Mode
from aifactory.resources.interface import Model

NAMES = ("tiny", "small", "large")
MODELS = st.lists(
    st.builds(
        Model,
        provider=st.sampled_from(["north", "south"]),
        model=st.sampled_from(NAMES),
        pool=st.just("default"),
        context_tokens=st.sampled_from([8_000, 128_000]),
        max_output_tokens=st.sampled_from([2_048, 8_192]),
        input_nano_per_million=st.integers(0, 10**9),
        output_nano_per_million=st.integers(0, 10**9),
        simulated=st.booleans(),
        reachable=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda one: (one.provider, one.model),
)


def chosen(models: list[Model], allowed: tuple[str, ...] = (), **named: bool) -> Generator | None:
    return choose_generator(
        models,
        allowed=allowed,
        mode=Mode.BALANCED,
        has_source=named.get("has_source", False),
        fallback=named.get("fallback", False),
        best_first=named.get("best_first", False),
        max_input_tokens=6_000,
    )


@settings(derandomize=True)
@given(
    models=MODELS,
    allowed=st.lists(st.sampled_from([*NAMES, "north/small", "south/large"]), unique=True, max_size=3),
    best_first=st.booleans(),
)
def test_routes_use_what_is_allowed_and_substitutes_cost_at_most_twice(
    models: list[Model], allowed: list[str], best_first: bool
) -> None:
    found = chosen(models, tuple(allowed), best_first=best_first)
    by_name = {(one.provider, one.model): one for one in models}
    usable = [
        one for one in models if not allowed or {one.model, f"{one.provider}/{one.model}"} & set(allowed)
    ]
    assert (found is None) == (not usable)
    if found is None:
        return
    used = [by_name[hop.provider, hop.model] for route in found.routes for hop in route.hops]
    assert set(map(id, used)) <= set(map(id, usable))
    for route in found.routes:
        first, *others = [by_name[hop.provider, hop.model] for hop in route.hops]
        assert len({(hop.provider, hop.model) for hop in route.hops}) == len(route.hops)
        for one in others:
            assert one.output_nano_per_million <= DEARER_AT_MOST * first.output_nano_per_million
            assert one.input_nano_per_million <= DEARER_AT_MOST * first.input_nano_per_million
    if not allowed and any(not one.simulated for one in models):
        assert not any(one.simulated for one in used)
    if any(one.reachable for one in usable) and (allowed or not any(one.simulated for one in models)):
        assert all(one.reachable for one in used)
    assert all(found.max_output_tokens <= one.max_output_tokens for one in used)
    assert all(found.max_input_tokens <= one.context_tokens // 2 for one in used)
    assert len(found.routes) <= ROUTES_AT_MOST
    assert all(len(route.hops) <= HOPS_AT_MOST for route in found.routes)


def model(name: str, price: int, **named: bool) -> Model:
    return Model(
        provider="north",
        model=name,
        pool="default",
        context_tokens=128_000,
        max_output_tokens=8_192,
        input_nano_per_million=price,
        output_nano_per_million=price,
        simulated=named.get("simulated", False),
        reachable=named.get("reachable", True),
    )


CHEAP, MIDDLE, DEAR = model("tiny", 100), model("small", 190), model("large", 1_000)


def firsts(found: Generator | None) -> list[str]:
    assert found is not None
    return [route.hops[0].model for route in found.routes]


def test_a_template_gives_the_order_else_the_price() -> None:
    models = [CHEAP, MIDDLE, DEAR]
    assert firsts(chosen(models)) == ["tiny", "small"]
    assert firsts(chosen(models, best_first=True)) == ["large", "small"]
    assert firsts(chosen(models, ("small", "tiny"))) == ["small", "tiny"]
    found = chosen(models)
    assert found is not None
    assert [hop.model for hop in found.routes[0].hops] == ["tiny", "small"]


def test_a_simulated_model_is_used_only_alone_or_by_name() -> None:
    pretend = model("sim", 1, simulated=True)
    assert firsts(chosen([pretend, CHEAP])) == ["tiny"]
    assert firsts(chosen([pretend])) == ["sim"]
    assert firsts(chosen([pretend, CHEAP], ("sim",))) == ["sim"]


def test_offline_is_chosen_on_request_and_when_nothing_can_be_reached() -> None:
    down = model("tiny", 100, reachable=False)
    assert chosen([down], has_source=True, fallback=True) is None
    assert firsts(chosen([down], has_source=False, fallback=True)) == ["tiny"]
    assert firsts(chosen([down], has_source=True, fallback=False)) == ["tiny"]
    assert firsts(chosen([down, DEAR], has_source=True, fallback=True)) == ["large"]
    assert chosen([]) is None
    offline = choose_generator(
        [CHEAP], allowed=(), mode=Mode.OFFLINE, has_source=True, fallback=True, best_first=False,
        max_input_tokens=6_000,
    )  # fmt: skip
    assert offline is None


def test_a_model_that_is_too_small_for_a_step_is_left_out_and_bounds_nothing() -> None:
    little = msgspec.structs.replace(model("little", 1), context_tokens=2_000, max_output_tokens=500)
    found = chosen([little, CHEAP])
    assert found is not None
    assert firsts(found) == ["tiny"]
    assert found.max_output_tokens == CHEAP.max_output_tokens
    assert chosen([little]) is None
