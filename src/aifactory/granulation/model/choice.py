"""Which generator a stage uses: models in an order, or the offline one; fixed when it is submitted. Pure."""

from collections.abc import Sequence

import msgspec

from aifactory.granulation.generation.recipe import recipe_of
from aifactory.granulation.generation.roots import (
    can_be_asked,
    gathered_fields,
    outlined_fields,
    spaces_with_keys,
)
from aifactory.granulation.parameters import Mode
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import StructureSpec
from aifactory.resources.interface import Hop, Model, Route

# Hops after the first cost at most twice the first; dearer models come by escalation only.
DEARER_AT_MOST = 2
HOPS_AT_MOST = 3
# The preferred route, and a dearer one for what failed there.
ROUTES_AT_MOST = 2
# A model that reads or writes less than this can't do a step.
LEAST_CONTEXT, LEAST_OUTPUT = 8_000, 1_000


class Generator(msgspec.Struct, frozen=True, kw_only=True):
    """Models to call: ``routes`` are the preferred one and that of a second try, each with its substitutes.

    ``max_input_tokens`` and ``max_output_tokens`` are what every model of them can take and give;
    ``fallback``: what models fail to write, the offline generator may write.
    """

    routes: tuple[Route, ...]
    max_input_tokens: int
    max_output_tokens: int
    fallback: bool


def choose_generator(
    models: Sequence[Model],
    *,
    allowed: Sequence[str],
    mode: Mode,
    has_source: bool,
    fallback: bool,
    best_first: bool,
    max_input_tokens: int,
) -> Generator | None:
    """Return the models to use, or None for the offline generator.

    ``models`` are usable ones, cheapest first; ``allowed`` names those of a template from cheapest to best
    (empty: every one). A simulated model is taken only where there is no other, or a template names it.
    """
    if mode is Mode.OFFLINE:
        return None
    chosen = _allowed([model for model in models if _is_large_enough(model)], allowed)
    if not chosen:
        return None
    if not any(model.reachable for model in chosen) and has_source and fallback:
        return None
    chosen = [model for model in chosen if model.reachable] or chosen
    routes = _routes(chosen[::-1] if best_first else chosen)
    hops = {(hop.provider, hop.model) for route in routes for hop in route.hops}
    called = [model for model in chosen if (model.provider, model.model) in hops]
    return Generator(
        routes=routes,
        max_input_tokens=min(max_input_tokens, *(model.context_tokens // 2 for model in called)),
        max_output_tokens=min(model.max_output_tokens for model in called),
        fallback=fallback,
    )


def why_offline(models: Sequence[Model], allowed: Sequence[str], mode: Mode) -> str | None:
    """Say why no model is used although there are some or some were named; None where none was wanted."""
    if mode is Mode.OFFLINE or not (models or allowed):
        return None
    chosen = _allowed([model for model in models if _is_large_enough(model)], allowed)
    if chosen:
        return "No model provider can be reached now."
    named = f" ({', '.join(allowed)})" if allowed else ""
    return f"None of the template's models{named} is set up; the operator can add it."


def why_not_by_models(spec: StructureSpec) -> str | None:
    """Say which required field of a type no model is asked for, so that only the offline generator writes it.

    None for a type that models write. Models are asked for what points nowhere, at objectives, at what the
    root declares, and at the nodes that an outline names; not for what has to point at anything else.
    """
    recipe = recipe_of(spec, Counts(per_level=(1,) * len(spec.levels)))
    written = {
        recipe.root_objectives,
        "blueprint",
        "glossary",
        *outlined_fields(recipe),
        *gathered_fields(recipe),
    }
    unasked = [name for name, field in spec.root_fields.items() if field.required and name not in written]
    spaces = spaces_with_keys(recipe)
    for depth, level in enumerate(spec.levels):
        outlined = {recipe.part_needs, recipe.part_objective_refs} if depth == 0 else set()
        unasked += [
            f"{level.kind}.{name}"
            for name, field in level.fields.items()
            if field.required and name not in outlined and not can_be_asked(field, spaces, items=depth == 1)
        ]
    if not unasked:
        return None
    more = f" and {len(unasked) - 3} more" if len(unasked) > 3 else ""
    return f"Models don't write {', '.join(unasked[:3])}{more} of a {spec.type}: it is made offline."


def _is_large_enough(model: Model) -> bool:
    return model.context_tokens >= LEAST_CONTEXT and model.max_output_tokens >= LEAST_OUTPUT


def _allowed(models: Sequence[Model], allowed: Sequence[str]) -> list[Model]:
    if allowed:
        ranks = {name: rank for rank, name in enumerate(allowed)}
        named = [(_rank(model, ranks), at, model) for at, model in enumerate(models)]
        return [model for rank, _, model in sorted(named, key=lambda one: one[:2]) if rank < len(allowed)]
    real = [model for model in models if not model.simulated]
    return real or list(models)


def _rank(model: Model, ranks: dict[str, int]) -> int:
    return min(ranks.get(name, len(ranks)) for name in (model.model, f"{model.provider}/{model.model}"))


def _routes(ladder: Sequence[Model]) -> tuple[Route, ...]:
    """Return a route per rung; each falls to models that cost at most twice as much, nearest first."""
    routes = []
    for at, first in enumerate(ladder[:ROUTES_AT_MOST]):
        others = [model for model in (*ladder[at + 1 :], *ladder[:at]) if _is_substitute(model, first)]
        called = (first, *others)[:HOPS_AT_MOST]
        hops = [Hop(provider=one.provider, model=one.model, pool=one.pool) for one in called]
        routes.append(Route(hops=tuple(hops)))
    return tuple(routes)


def _is_substitute(model: Model, first: Model) -> bool:
    return (
        model.output_nano_per_million <= DEARER_AT_MOST * first.output_nano_per_million
        and model.input_nano_per_million <= DEARER_AT_MOST * first.input_nano_per_million
    )
