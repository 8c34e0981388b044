"""Sound trees of all types made worse in known ways: does the score fall, and for the right reason."""

from collections.abc import Iterator, Sequence
from functools import cache
from statistics import fmean

import msgspec
from tests.unit.granulation.mutations import NAMED, OPERATORS, is_measured, mutate
from tests.unit.granulation.trees import KEYPHRASES, SOURCE, course_counts, quiz_tree, varied_course
from tests.unit.granulation.trees_map import map_tree
from tests.unit.granulation.trees_novel import novel_tree
from tests.unit.granulation.trees_path import path_tree
from tests.unit.granulation.trees_workflow import workflow_tree

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.generate import STRUCTURE_TYPES, generate
from aifactory.granulation.offline.source import read_source
from aifactory.granulation.scoring import Score, score
from aifactory.granulation.sizes import Counts, resolve_counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Tree
from bench.granulation.figures import Figure, Measure, number
from bench.running import REPOSITORY

EXAMPLES = ("drinking-water.md", "sourdough.md", "balance-sheet.md", "tides.txt")
STRENGTHS = (1, 2, 3)
SEED = 11
# A sum of rounded parts may differ by this much without having moved.
STILL = 1e-6


class Base(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A sound tree with all that its score may look at."""

    name: str
    tree: Tree
    text: str | None = None
    phrases: tuple[tuple[str, float], ...] = ()
    counts: Counts | None = None

    def scored(self, tree: Tree) -> Score:
        """The score of the tree, or of one made of it."""
        spec = builtin_specs()[tree.structure_type]
        return score(tree, spec, text=self.text, keyphrases=self.phrases, counts=self.counts)


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One tree made worse: the sub-score or gate that is meant noticed, and moved most (or a gate fell)."""

    operator: str
    structure_type: str
    base: str
    strength: int
    fell: bool
    in_order: bool
    is_noticed: bool
    is_named: bool
    moved_most: str


@cache
def bases(*, quick: bool) -> tuple[Base, ...]:
    """Trees by hand, and those that the generator makes of the examples, as far as no gate falls."""
    found = list(_by_hand())
    for name in EXAMPLES[:1] if quick else EXAMPLES:
        found += _generated(name)
    if quick:
        found = found[:1] + found[4:5] + found[6:]
    return tuple(base for base in found if not score_of(base).gates_failed)


def _by_hand() -> Iterator[Base]:
    for tree in (*(varied_course(seed) for seed in range(4)), quiz_tree(sections=3), quiz_tree()):
        yield Base(
            name="bread, by hand", tree=tree, text=SOURCE, phrases=KEYPHRASES, counts=course_counts(tree)
        )
    for tree in (path_tree(), map_tree()):
        yield Base(name="bread, by hand", tree=tree, text=SOURCE, phrases=KEYPHRASES)
    for tree in (workflow_tree(), novel_tree()):
        yield Base(name="without a source, by hand", tree=tree)


def _generated(name: str) -> Iterator[Base]:
    text = (REPOSITORY / "examples" / name).read_text("utf-8")
    digest = read_source(text, format="markdown" if name.endswith(".md") else "text", name=name)
    phrases = tuple((one.text, one.weight) for one in digest.keyphrases)
    for structure_type in STRUCTURE_TYPES:
        counts = resolve_counts(builtin_specs()[structure_type])
        tree = generate(digest, text, Brief(structure_type=structure_type, topic=name, counts=counts))
        if tree.nodes:
            yield Base(name=name, tree=tree, text=text, phrases=phrases, counts=counts)


@cache
def score_of(base: Base) -> Score:
    """The score of a sound tree itself."""
    return base.scored(base.tree)


def trials(base: Base, operator: str, strengths: Sequence[int] = STRENGTHS) -> Iterator[Trial]:
    """A tree made worse more and more; nothing where its type does not know what the operator harms."""
    sound = score_of(base)
    if not is_measured(operator, sound):
        return
    before = _number(sound)
    for strength in strengths:
        worse = mutate(base.tree, OPERATORS[operator], strength, SEED)
        if worse is None:
            continue
        result = base.scored(worse)
        drops = {
            name: part.value - result.sub_scores[name].value
            for name, part in sound.sub_scores.items()
            if name in result.sub_scores
        }
        most = max(drops, key=lambda name: drops[name])
        named = NAMED[operator]
        yield Trial(
            operator=operator,
            structure_type=base.tree.structure_type,
            base=base.name,
            strength=strength,
            fell=_number(result) < _number(sound) - STILL,
            in_order=_number(result) <= before + STILL,
            is_noticed=any(part in result.gates_failed or drops.get(part, 0.0) > STILL for part in named),
            is_named=bool(result.gates_failed)
            or max(drops.get(part, -1.0) for part in named) >= drops[most] - STILL,
            moved_most=most,
        )
        before = _number(result)


def _number(result: Score) -> float:
    """The number of a valid tree; an invalid one is below all valid ones."""
    return -1.0 if result.exact is None or result.gates_failed else result.exact


def measure(*, quick: bool) -> Measure:
    """All operators on all trees at all strengths."""
    found = [
        trial
        for base in bases(quick=quick)
        for name in OPERATORS
        for trial in trials(base, name, STRENGTHS[::2] if quick else STRENGTHS)
    ]
    by_operator = {name: [one for one in found if one.operator == name] for name in OPERATORS}
    tried = {name: rows for name, rows in by_operator.items() if rows}
    weakest = min(tried, key=lambda name: _share(tried[name], "fell"))
    figures = (
        Figure(what="trees", value=len(bases(quick=quick)), unit="", aim=None if quick else 30, least=True),
        Figure(what="trees made worse", value=len(found), unit=""),
        Figure(what="of these, scored lower", value=_share(found, "fell"), unit="%", aim=98, least=True),
        Figure(
            what=f"scored lower, weakest operator: {weakest}",
            value=_share(tried[weakest], "fell"),
            unit="%",
            aim=95,
            least=True,
        ),
        Figure(
            what="more harm, no higher score", value=_share(found, "in_order"), unit="%", aim=95, least=True
        ),
        Figure(
            what="the sub-score that is meant moves most, or a gate falls",
            value=_share(found, "is_named"),
            unit="%",
            aim=90,
            least=True,
        ),
    )
    return Measure(
        name="mutations",
        title="Does the score notice harm",
        settings={
            "trees": "by hand and by the generator, of all types, none with a failed gate",
            "harm": f"{len(OPERATORS)} operators, each at strengths 1 to 3 by seed {SEED}; it counts only on "
            "types with the sub-score that it is named for",
            "moves most": "the largest fall of a sub-score's value, before weights",
        },
        figures=figures,
        heads=(
            "operator",
            "meant",
            "types",
            "trees made worse",
            "lower %",
            "in order %",
            "meant moves most %",
        ),
        rows=tuple(_row(name, rows) for name, rows in tried.items()),
        lists={
            "not lower": _names(one for one in found if not one.fell),
            "higher with more harm": _names(one for one in found if not one.in_order),
            "another sub-score moves most": _names(one for one in found if not one.is_named),
        },
    )


def _share(found: Sequence[Trial], name: str) -> float:
    return 100 * fmean(bool(getattr(one, name)) for one in found)


def _row(name: str, found: Sequence[Trial]) -> tuple[str, ...]:
    types = dict.fromkeys(one.structure_type for one in found)
    shares = (number(_share(found, part)) for part in ("fell", "in_order", "is_named"))
    return (name, " or ".join(NAMED[name]), str(len(types)), str(len(found)), *shares)


def _names(found: Iterator[Trial]) -> tuple[str, ...]:
    return tuple(
        f"{one.operator} {one.strength} on {one.structure_type} of {one.base}: {one.moved_most}"
        for one in found
    )
