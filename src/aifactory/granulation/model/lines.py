"""What a stage that models write may cost, from the request alone, and the calls that this pays for. Pure."""

from typing import Any

import msgspec

from aifactory.granulation.generation import bounds
from aifactory.granulation.generation.given import MOST_GIVEN
from aifactory.granulation.generation.recipe import Recipe
from aifactory.granulation.model.calls import Portion
from aifactory.granulation.model.choice import Generator
from aifactory.granulation.model.steps import Wish
from aifactory.granulation.offline_path import local_line, node_words
from aifactory.granulation.parameters import Mode
from aifactory.granulation.steps import NODE_WORDS_LIMIT
from aifactory.kernel.ids import DataId
from aifactory.resources.interface import Line, NewJob, ResolvedStage, Route

# How long a call may take: a slow machine writes eight tokens a second, after a minute of reading.
_READING_SECONDS, _SLOWEST_TOKENS_A_SECOND, _LONGEST_SECONDS = 60, 8, 900
# Two rounds of repairs, one attempt each, take at most 90 s.
PATCH_SECONDS = 45
JUDGE_OUTPUT = 500
# The keys of parts are enums in an outline's schema, and providers limit those.
MOST_PARTS = 100
PATCH_OUTPUT = 900
# Repairs may cost a small share of the whole.
PATCH_SHARE = 0.08
PATCH_TOKENS = 2_500
# The most that a prompt may have, by what it is for; templates may allow less.
_PATCH_INPUT = 5_500
_INPUT = {"outline": 4_500, "expand": 6_000, "items": 6_000, "judge": 6_000}
# An objective as a prompt shows it, with its key and level.
_SHOWN_TOKENS = 110
_INPUT_WITHOUT_SOURCE = {"outline": 2_200, "expand": 4_500, "items": 4_800, "judge": 6_000}


class ModelPath(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides what a stage's calls are: the wish, the models, whether there is a source.

    ``given_objectives``: the outline is told the objectives of an earlier stage.
    """

    wish: Wish
    generator: Generator
    has_source: bool
    given_objectives: bool = False

    @property
    def recipe(self) -> Recipe:
        """Return how the type is divided among calls."""
        return self.wish.recipe

    def input_bound(self, kind: str) -> int:
        """Return the most tokens that a prompt of a kind may have."""
        wanted = (_INPUT if self.has_source else _INPUT_WITHOUT_SOURCE).get(kind, _PATCH_INPUT)
        if kind == "outline" and self.given_objectives:
            wanted += self._most_shown * _SHOWN_TOKENS
        return min(wanted, self.generator.max_input_tokens)

    @property
    def _most_shown(self) -> int:
        return min(MOST_GIVEN, self.recipe.parts * max(1, self.recipe.children))

    def output_limit(self, expected: int) -> int:
        """Return the most tokens that an answer of an expected length may have."""
        return bounds.output_limit(expected, self.generator.max_output_tokens)

    def seconds(self, output_limit: int) -> int:
        """Return how long a call with such a limit may take."""
        return min(_LONGEST_SECONDS, _READING_SECONDS + output_limit // _SLOWEST_TOKENS_A_SECOND)

    @property
    def portions(self) -> int:
        """Into how many calls a part is divided: one, one a titled child, or as many as keep each short."""
        recipe = self.recipe
        expected = bounds.expansion_output(recipe, recipe.children)
        short = max(1, self.generator.max_output_tokens // 2)
        if not recipe.children_are_titled:
            return max(1, min(recipe.children, -(-expected // short)))
        is_wide = expected > short or self.wish.parameters.mode is Mode.FAST
        return max(1, recipe.children) if is_wide else 1

    @property
    def children_a_portion(self) -> int:
        """How many children one call writes at most."""
        return -(-self.recipe.children // self.portions) if self.recipe.children else 0


def lines_of(path: ModelPath, inputs_words: int) -> list[Line]:
    """Bound every call from the request alone; what is over a line extends the hold or is not made."""
    recipe, route = path.recipe, path.generator.routes[0]
    nodes = recipe.counts.nodes
    written, expected = nodes * NODE_WORDS_LIMIT, nodes * node_words(recipe.spec.type)
    lines = [_call_line(path, "outline", "outline", 1, route, bounds.outline_output(recipe))]
    if path.has_source:
        lines.insert(0, local_line("read", inputs_words, 0, inputs_words, 0))
    lines.append(local_line("plan", 0, 0, 0, 0))
    if recipe.has_insides:
        output = bounds.expansion_output(recipe, path.children_a_portion)
        count = recipe.parts * path.portions
        lines.append(_call_line(path, "expand", "expand", count, route, output))
    if recipe.item_list:
        output = bounds.items_output(recipe.children)
        lines.append(_call_line(path, "items", "expand", recipe.parts, route, output))
    lines += [local_line(kind, 0, 0, 0, 0) for kind in ("assemble", "mend")]
    if path.generator.fallback and path.has_source:
        lines.append(local_line("write", 0, written, 0, 0))
    lines.append(local_line("score", written, 0, expected, 0))
    if path.wish.parameters.validation.level > 1:
        lines.append(_call_line(path, "judge", "judge", 1, route, JUDGE_OUTPUT))
    return lines


def why_unwritable(path: ModelPath) -> str | None:
    """Say which answer could never be written whole, whatever it is divided into; None if all can."""
    recipe, most = path.recipe, path.generator.max_output_tokens
    first = recipe.spec.levels[0].title.lower()
    if recipe.parts > MOST_PARTS:
        return f"An outline by a model has at most {MOST_PARTS} {first}s, and {recipe.parts} are asked for"
    outline = bounds.outline_output(recipe)
    if outline > most:
        return f"The outline would have about {outline:,} tokens, and an answer has at most {most:,}"
    smallest = bounds.expansion_output(recipe, min(1, recipe.children))
    if smallest > most:
        second = recipe.spec.levels[1].title.lower()
        return f"One {second} would have about {smallest:,} tokens, and an answer has at most {most:,}"
    return None


def _call_line(path: ModelPath, kind: str, phase: str, count: int, route: Route, output: int) -> Line:
    bound = path.input_bound(kind)
    return Line(
        kind=kind,
        phase=phase,
        count=count,
        route=route,
        input_bound=bound,
        output_limit=path.output_limit(output),
        expected_input=bound // 2,
        expected_output=output,
    )


def expected_tokens(path: ModelPath) -> int:
    """Return the tokens that a whole tree is expected to cost, without repairs."""
    recipe, total = path.recipe, 0
    for line in lines_of(path, 0):
        if not line.route.local:
            total += line.count * (line.expected_input + line.expected_output)
    return max(total, recipe.parts)


def patch_calls(path: ModelPath) -> int:
    """Return how many repair calls a tree may cost at first."""
    return max(1, int(PATCH_SHARE * expected_tokens(path) / PATCH_TOKENS))


def line_call(
    path: ModelPath,
    kind: str,
    resolved: ResolvedStage,
    data: dict[str, DataId],
    portion: Portion | None = None,
) -> NewJob:
    """Return a call that the line of its kind pays for."""
    return NewJob(
        kind=kind,
        line=kind,
        payload=_payload(resolved, portion),
        data=data,
        timeout_seconds=path.seconds(path.generator.max_output_tokens),
    )


def further_call(
    path: ModelPath,
    kind: str,
    resolved: ResolvedStage,
    data: dict[str, DataId],
    *,
    route: Route,
    output_limit: int,
    portion: Portion | None = None,
) -> NewJob:
    """Return a call that no line pays for: it extends the hold, or is refused."""
    return NewJob(
        kind=kind,
        line=None,
        payload=_payload(resolved, portion),
        data=data,
        route=route,
        input_bound=path.input_bound(kind),
        output_limit=output_limit,
        timeout_seconds=path.seconds(output_limit),
    )


def _payload(resolved: ResolvedStage, portion: Portion | None) -> dict[str, Any]:
    payload: dict[str, Any] = {"resolved": msgspec.to_builtins(resolved)}
    if portion is not None:
        payload["portion"] = msgspec.to_builtins(portion)
    return payload
