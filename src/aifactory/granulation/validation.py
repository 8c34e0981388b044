"""All checks of a tree against its type, what was asked for, and its source. Pure."""

from collections.abc import Callable, Iterable, Sequence

from aifactory.granulation.index import TreeIndex
from aifactory.granulation.item_set_rules import check_item_sources, check_items
from aifactory.granulation.redundancy import check_redundancy
from aifactory.granulation.rules_cards import check_cards
from aifactory.granulation.rules_claims import (
    check_claims,
    check_evidence,
    check_headings,
    check_source_order,
)
from aifactory.granulation.rules_edges import check_edges
from aifactory.granulation.rules_flow import check_flow
from aifactory.granulation.rules_handover import check_handover
from aifactory.granulation.rules_learning import (
    check_alignment,
    check_blueprint,
    check_glossary,
    check_load,
    check_objectives,
    check_order,
)
from aifactory.granulation.rules_path import check_skills, check_workload
from aifactory.granulation.rules_shape import (
    check_graph,
    check_language,
    check_levels,
    check_references,
    check_siblings,
    check_texts,
    check_unused,
)
from aifactory.granulation.rules_source import MandatoryObject, check_objects, check_spans, check_topic
from aifactory.granulation.rules_story import check_story
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.tree import Tree
from aifactory.granulation.violations import Report, Severity, Violation
from aifactory.granulation.words import STOP_WORDS

__all__ = ["MandatoryObject", "Report", "Severity", "Violation", "inspect", "validate"]

_ALWAYS: tuple[tuple[str, Callable[[TreeIndex], Iterable[Violation]]], ...] = (
    ("levels", check_levels),
    ("references", check_references),
    ("unused", check_unused),
    ("graph", check_graph),
    ("texts", check_texts),
    ("siblings", check_siblings),
    ("objectives", check_objectives),
    ("items", check_items),
    ("load", check_load),
    ("cards", check_cards),
    ("claims", check_claims),
    ("handover", check_handover),
)
# Rules that a type switches on by name.
_BY_NAME: tuple[tuple[str, Callable[[TreeIndex], Iterable[Violation]]], ...] = (
    ("alignment", check_alignment),
    ("order", check_order),
    ("redundancy", check_redundancy),
    ("glossary", check_glossary),
    ("blueprint", check_blueprint),
    ("headings", check_headings),
    ("sourceOrder", check_source_order),
    ("edges", check_edges),
)
# Rules that one of the levels switches on, for its nodes.
_BY_LEVEL: tuple[tuple[str, Callable[[TreeIndex], Iterable[Violation]]], ...] = (
    ("flow", check_flow),
    ("story", check_story),
    ("skillRise", check_skills),
    ("workload", check_workload),
)


def validate(
    tree: Tree,
    spec: StructureSpec,
    counts: Counts | None = None,
    *,
    text: str | None = None,
    objects: Sequence[MandatoryObject] = (),
) -> list[Violation]:
    """Every broken rule, gates first, then by place. ``text`` is the source that spans point into."""
    report = inspect(TreeIndex(tree=tree, spec=spec, counts=counts), text=text, objects=objects)
    return list(report.violations)


def inspect(index: TreeIndex, *, text: str | None = None, objects: Sequence[MandatoryObject] = ()) -> Report:
    """Like ``validate`` on a tree already read, and says which checks could not be made and why."""
    found = list(index.violations)
    run = ["schema"]
    skipped: dict[str, str] = {}
    for name, check in _ALWAYS:
        found += check(index)
        run.append(name)
    for name, check in (*_BY_NAME, *_BY_LEVEL):
        if index.spec.has_rule(name):
            found += check(index)
            run.append(name)
    if index.language in STOP_WORDS:
        run.append("language")
    else:
        skipped["language"] = f"only the script: there is no word list for {index.language!r}"
    found += check_language(index)
    if index.language != "en":
        skipped["wording"] = "objective verbs and item wording are checked in English only"
    if "coherence" in index.spec.rules:
        found += check_topic(index, text)
        run.append("coherence")
    if text is not None or index.tree.source is not None:
        found += check_evidence(index)
    if text is not None:
        found += check_spans(index, text)
        found += check_item_sources(index, text)
        run.append("spans")
    else:
        skipped["spans"] = "no source text was given"
    if objects:
        found += check_objects(index, tuple(objects))
        run.append("objects")
    order = {Severity.GATE: 0, Severity.ERROR: 1, Severity.WARNING: 2}
    place = {entry.path: position for position, entry in enumerate(index.entries, 1)}
    found.sort(key=lambda one: (order[one.severity], place.get(one.path, 0), one.rule, one.pointer))
    return Report(violations=tuple(found), checks_run=tuple(run), checks_skipped=skipped)
