"""How long a document takes to become trees, and a tree to be scored, with nothing kept and with all kept."""

import gc
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import _lru_cache_wrapper

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.generate import generate
from aifactory.granulation.offline.source import read_source
from aifactory.granulation.scoring import assess
from aifactory.granulation.sizes import resolve_counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Node, Origin, Tree, walk
from bench.granulation.documents import corpus, name_of
from bench.granulation.figures import Figure, Measure

WORDS = (10_000, 30_000)
TYPES = ("course", "quiz", "flashcards")
NODES = (100, 1_000, 1_500)
REPEATS = 5


def measure(*, quick: bool) -> Measure:
    """Processor time of the generator and of the scorer."""
    repeats = 2 if quick else REPEATS
    figures, made_of = [], {}
    for wanted in WORDS[:1] if quick else WORDS:
        text, names = _long_text(wanted)
        made_of[f"the text of {wanted:,} words"] = names
        taken = _median(lambda text=text: _three_trees(text), repeats, cold=True)
        aim = 1.5 if wanted == WORDS[0] else None
        what = f"{len(text.split()):,} words to course, quiz and cards"
        figures.append(Figure(what=what, value=taken, unit="s", aim=aim))
    for nodes in NODES:
        figures += _scoring(nodes, repeats)
    return Measure(
        name="speed",
        title="Speed",
        settings={
            "time": f"of the processor, one thread, median of {repeats}",
            "cold": "every cache of the package emptied before",
            "scored tree": "a course of random words out of 3,000, harder than prose; no source",
        },
        figures=tuple(figures),
        lists=made_of,
    )


def _three_trees(text: str) -> None:
    digest = read_source(text, format="markdown", name="long.md")
    for name in TYPES:
        counts = resolve_counts(builtin_specs()[name])
        generate(digest, text, Brief(structure_type=name, topic="long.md", counts=counts))


def _scoring(nodes: int, repeats: int) -> list[Figure]:
    tree = random_course(nodes)
    spec = builtin_specs()["course"]
    held = sum(1 for _ in walk(tree))

    def score() -> None:
        assess(tree, spec, text=None, keyphrases=[])

    cold = 1_000 * _median(score, repeats, cold=True)
    warm = 1_000 * _median(score, repeats, cold=False)
    aim = 250 if nodes == 1_000 else None
    return [
        Figure(what=f"{held:,} nodes scored, cold", value=cold, unit="ms", aim=aim),
        Figure(what=f"{held:,} nodes scored, warm", value=warm, unit="ms", aim=aim),
    ]


def _median(work: Callable[[], None], repeats: int, *, cold: bool) -> float:
    if not cold:
        work()
    taken = []
    for _ in range(repeats):
        if cold:
            forget()
        gc.collect()
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def forget() -> None:
    """Empty every cache of the granulation package, whatever it is called."""
    for name, module in list(sys.modules.items()):
        if name.startswith("aifactory.granulation"):
            for held in vars(module).values():
                # The specs are data that a server reads once.
                if isinstance(held, _lru_cache_wrapper) and held.__name__ != "builtin_specs":
                    held.cache_clear()


def _long_text(words: int) -> tuple[str, tuple[str, ...]]:
    """Reference documents one after the other, ended at a paragraph once they have so many words."""
    parts: list[str] = []
    names, held = [], 0
    for document in sorted(corpus(), key=lambda one: one.kind not in {"example", "reference"}):
        if document.format != "markdown":
            continue
        names.append(name_of(document))
        for paragraph in document.text.split("\n\n"):
            parts.append(paragraph)
            held += len(paragraph.split())
            if held >= words:
                return "\n\n".join(parts), tuple(names)
    return "\n\n".join(parts), tuple(names)


def random_course(nodes: int) -> Tree:
    """A course of about so many nodes: 12 modules of lessons with four activities each."""
    dice = random.Random(nodes)
    vocabulary = [
        "".join(dice.choice("aeioustrnlmdp") for _ in range(dice.randint(3, 9))) for _ in range(3_000)
    ]

    def said(count: int) -> str:
        return " ".join(dice.choice(vocabulary) for _ in range(count)).capitalize() + "."

    modules = 12 if nodes >= 500 else 5
    lessons = max(1, round((nodes / modules - 1) / 5))
    tops = []
    for place in range(1, modules + 1):
        objective = {"id": f"o{place}", "text": f"Explain {said(5)}", "bloom": "understand"}
        below = [_lesson(f"{place}_{one}", one, f"o{place}", said) for one in range(1, lessons + 1)]
        fields = {"objectives": [objective, {**objective, "id": f"p{place}"}]}
        tops.append(_node(f"m{place}", "module", 1, place, said, fields, tuple(below)))
    outcomes = [
        {"id": f"out{place}", "text": f"Explain {said(5)}", "bloom": "apply"} for place in range(1, 4)
    ]
    return Tree(
        structure_type="course",
        title="Random",
        summary=said(20),
        language="en",
        origin=Origin.OFFLINE,
        depth=3,
        fields={"outcomes": outcomes},
        nodes=tuple(tops),
    )


def _lesson(name: str, place: int, objective: str, said: Callable[[int], str]) -> Node:
    practice = [
        _node(
            f"a{name}_{one}",
            "activity",
            3,
            one,
            said,
            {"activityKind": "practice", "instructions": said(25), "objectiveIds": [objective]},
        )
        for one in range(1, 5)
    ]
    fields = {"objectiveIds": [objective], "keyPoints": [said(12) for _ in range(4)]}
    return _node(f"l{name}", "lesson", 2, place, said, fields, tuple(practice))


def _node(
    name: str,
    kind: str,
    level: int,
    place: int,
    said: Callable[[int], str],
    fields: dict[str, object],
    children: tuple[Node, ...] = (),
) -> Node:
    return Node(
        id=name,
        kind=kind,
        level=level,
        ordinal=place,
        title=said(4),
        summary=said(20),
        minutes=None if children else 10,
        fields=fields,
        children=children,
    )
