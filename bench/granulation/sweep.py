"""Every document of the corpus as every type: what comes out, and how sound its questions are."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

import msgspec

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.generate import STRUCTURE_TYPES, generate
from aifactory.granulation.scoring import assess
from aifactory.granulation.sizes import resolve_counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import ItemKind, Node, Tree, leaves, walk
from aifactory.granulation.violations import Severity, Violation
from bench.granulation.documents import Document, corpus, digest_of, name_of
from bench.granulation.figures import Figure, Measure, number

_ITEM = re.compile(r"\A(.*?/items?(?:/\d+)?)(?:/|\Z)")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a document as one type; ``state`` is a band, invalid, empty, refused or crash."""

    document: str
    kind: str
    words: int
    structure_type: str
    state: str
    score: float | None = None
    items: int = 0
    gaps: int = 0
    flawed: int = 0
    warned: int = 0
    leaves: int = 0
    quoted: int = 0
    false_quotes: int = 0


@cache
def outcomes(*, quick: bool) -> tuple[Outcome, ...]:
    """All documents as all types, once for both measures."""
    found: list[Outcome] = []
    for document in corpus(share=4 if quick else 1):
        found += [_outcome(document, name) for name in STRUCTURE_TYPES]
    return tuple(found)


def _outcome(document: Document, structure_type: str) -> Outcome:
    words = len(document.text.split())
    known = {"document": name_of(document), "kind": document.kind, "words": words}
    digest = digest_of(document)
    if digest is None:
        return Outcome(**known, structure_type=structure_type, state="refused")  # type: ignore[arg-type]
    spec = builtin_specs()[structure_type]
    counts = resolve_counts(spec)
    try:
        brief = Brief(structure_type=structure_type, topic=name_of(document), counts=counts)
        tree = generate(digest, document.text, brief)
    except Exception:  # whatever breaks is what this looks for
        return Outcome(**known, structure_type=structure_type, state="crash")  # type: ignore[arg-type]
    phrases = [(one.text, one.weight) for one in digest.keyphrases]
    assessed = assess(tree, spec, text=document.text, keyphrases=phrases, counts=counts)
    score = assessed.score
    state = "empty" if not tree.nodes else "invalid" if score.gates_failed else score.band.value
    counted = _counted(tree, document.text, assessed.violations)
    return Outcome(  # type: ignore[arg-type]
        **known, **counted, structure_type=structure_type, state=state, score=score.score
    )


def _counted(tree: Tree, text: str, violations: Sequence[Violation]) -> dict[str, int]:
    items = [item for _, node in walk(tree) for item in node.items]
    flaws: dict[bool, set[str]] = {True: set(), False: set()}
    for one in violations:
        if one.rule.startswith("item.") and (match := _ITEM.match(one.pointer)):
            flaws[one.severity is not Severity.WARNING].add(match.group(1))
    spans = [span for _, node in walk(tree) for span in node.sources]
    return {
        "items": len(items),
        "gaps": sum(item.kind is ItemKind.CLOZE for item in items),
        "flawed": len(flaws[True]),
        "warned": len(flaws[False] - flaws[True]),
        "leaves": sum(1 for _ in leaves(tree)),
        "quoted": sum(_cites(node) for _, node in leaves(tree)),
        "false_quotes": sum(text[span.start : span.end] != span.quote for span in spans),
    }


def _cites(node: Node) -> bool:
    return bool(node.sources) or any(item.sources for item in node.items)


def measure(*, quick: bool) -> Measure:
    """The states of all trees, and whether every leaf says where it comes from."""
    found = outcomes(quick=quick)
    read = [one for one in found if one.state not in {"refused", "crash"}]
    documents = list(dict.fromkeys((one.kind, one.document, one.words) for one in found))
    refused = sorted({one.document for one in found if one.state == "refused"})
    figures = [
        Figure(what="documents", value=len(documents), unit="", aim=None if quick else 40, least=True),
        Figure(what="refused", value=len(refused), unit="documents"),
        Figure(what="crashes", value=sum(one.state == "crash" for one in found), unit="trees", aim=0),
        Figure(
            what="leaves with a passage",
            value=_share(read, "quoted", "leaves"),
            unit="%",
            aim=100,
            least=True,
        ),
        Figure(what="passages that are not in the text", value=_sum(read, "false_quotes"), unit="", aim=0),
    ]
    for name in STRUCTURE_TYPES:
        trees = [one for one in read if one.structure_type == name]
        valid = sum(one.state not in {"invalid", "empty"} for one in trees)
        share = 100 * valid / len(trees) if trees else 0.0
        figures.append(Figure(what=f"{name}: valid trees", value=share, unit="%"))
    return Measure(
        name="corpus",
        title="Real documents",
        settings={
            "documents": "by pattern and seed from what this machine has; size as the server chooses it",
            "valid": "no gate of the type is failed; a refused document gives no tree",
        },
        figures=tuple(figures),
        heads=("type", *_STATES, "lowest valid score"),
        rows=tuple(_row(name, found) for name in STRUCTURE_TYPES),
        lists={
            "documents": tuple(f"{kind}: {name} ({number(words)})" for kind, name, words in documents),
            "refused": tuple(refused),
            "invalid or empty": tuple(
                f"{one.structure_type} of {one.document}"
                for one in found
                if one.state in {"invalid", "empty"}
            ),
        },
    )


_STATES = ("accept", "review", "reject", "invalid", "empty", "refused", "crash")


def _row(name: str, found: Sequence[Outcome]) -> tuple[str, ...]:
    trees = [one for one in found if one.structure_type == name]
    states = Counter(one.state for one in trees)
    scores = [one.score for one in trees if one.score is not None and one.state in _STATES[:3]]
    return (name, *(str(states[state]) for state in _STATES), number(min(scores)) if scores else "–")


def _sum(found: Sequence[Outcome], name: str) -> int:
    return sum(getattr(one, name) for one in found)


def _share(found: Sequence[Outcome], part: str, whole: str) -> float:
    return 100 * _sum(found, part) / max(1, _sum(found, whole))


def measure_items(*, quick: bool) -> Measure:
    """Flaws of the questions that the sweep made, by the rules that check every item."""
    found = [one for one in outcomes(quick=quick) if one.items]
    figures = (
        Figure(what="questions", value=_sum(found, "items"), unit=""),
        Figure(what="with an error", value=_share(found, "flawed", "items"), unit="%", aim=0),
        Figure(what="with a warning alone", value=_share(found, "warned", "items"), unit="%", aim=5.0),
        Figure(what="gaps to fill in", value=_share(found, "gaps", "items"), unit="%", aim=40.0),
    )
    return Measure(
        name="items",
        title="Questions",
        settings={
            "questions": "of all courses and quizzes of the corpus, checked by the validator's item rules"
        },
        figures=figures,
    )
