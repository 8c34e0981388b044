# ruff: noqa: E501  (cases are data)

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.granulation import test_edges, test_flow, test_path, test_story
from tests.unit.granulation.test_item_rules import SET_CASES, SINGLE_CASES
from tests.unit.granulation.trees import SOURCE, course_counts, course_tree, large_course, quiz_tree

import aifactory.granulation
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import MAX_NODES, Tree
from aifactory.granulation.validation import MandatoryObject, Severity, Violation, inspect, validate

Plain = dict[str, Any]
SPECS = builtin_specs()


def violations(tree: Tree, counts: Counts | None = None, **rest: Any) -> list[Violation]:
    return validate(tree, SPECS[tree.structure_type], counts, text=SOURCE, **rest)


def broken(change: Callable[[Plain], Any], base: Tree | None = None) -> list[Violation]:
    base = base or course_tree()
    plain = msgspec.json.decode(msgspec.json.encode(base))
    change(plain)
    return violations(msgspec.convert(plain, Tree), course_counts(base))


@pytest.mark.parametrize(
    "tree",
    [
        course_tree(),
        course_tree(modules=3, lessons=2, activities=1, items=False),
        course_tree(activities=0),
        quiz_tree(),
        quiz_tree(sections=2),
    ],
    ids=["course", "small course", "two levels", "quiz", "small quiz"],
)
def test_a_sound_tree_breaks_no_rule(tree):
    assert violations(tree, course_counts(tree)) == []


def module(plain: Plain, place: int = 0) -> Plain:
    return plain["nodes"][place]


def lesson(plain: Plain, place: int = 0, of: int = 0) -> Plain:
    return plain["nodes"][of]["children"][place]


def activity(plain: Plain) -> Plain:
    return lesson(plain)["children"][0]


def objective(plain: Plain, place: int = 0) -> Plain:
    return module(plain)["fields"]["objectives"][place]


def add_objective(plain: Plain) -> None:
    module(plain)["fields"]["objectives"].append(objective(plain) | {"id": "new"})


def in_german(plain: Plain) -> None:
    text = (
        "Der Teig ruht an einem warmen Ort, und nach einer Stunde ist er doppelt so groß, wie er vor der Ruhe war. "
        "Das liegt an der Hefe, die sich von dem Zucker ernährt und dabei ein Gas bildet, das in dem Netz bleibt. "
        "Wer zu früh backt, der bekommt ein flaches Brot."
    )
    for node in [*plain["nodes"], *(child for one in plain["nodes"] for child in one["children"])]:
        node["summary"] = text
        for child in node["children"]:
            if "instructions" in child["fields"]:
                child["fields"]["instructions"] = text


def one_in_german(plain: Plain) -> None:
    whole = msgspec.json.decode(msgspec.json.encode(plain))
    in_german(whole)
    plain["nodes"][0]["summary"] = whole["nodes"][0]["summary"]


# Each rule with a change that breaks it in a sound course; the sound course is the passing case.
COURSE_CASES: list[tuple[str, Severity, Callable[[Plain], Any]]] = [
    ("schema.type_name", Severity.GATE, lambda p: p.update(structureType="quiz") or None),
    ("schema.kind", Severity.GATE, lambda p: module(p).update(kind="chapter")),
    ("schema.depth", Severity.GATE, lambda p: activity(p).update(children=[activity(p) | {"id": "x"}])),
    ("schema.required", Severity.GATE, lambda p: lesson(p)["fields"].pop("keyPoints")),
    ("schema.type", Severity.GATE, lambda p: lesson(p)["fields"].update(keyPoints="one")),
    ("schema.type", Severity.GATE, lambda p: lesson(p)["fields"].update(keyPoints=[1, 2, 3])),
    ("schema.type", Severity.GATE, lambda p: objective(p).update(bloom="guess")),
    ("schema.type", Severity.GATE, lambda p: module(p)["fields"]["assessment"].update(weight="much")),
    ("schema.type", Severity.GATE, lambda p: module(p)["fields"]["assessment"].update(weight=True)),
    ("schema.type", Severity.GATE, lambda p: module(p)["fields"].update(assessment=[])),
    ("schema.type", Severity.GATE, lambda p: lesson(p)["fields"]["items"].append({"id": "q"})),
    ("schema.choice", Severity.GATE, lambda p: activity(p)["fields"].update(activityKind="sing")),
    ("schema.level", Severity.WARNING, lambda p: lesson(p).update(level=7)),
    ("schema.unknown_field", Severity.WARNING, lambda p: lesson(p)["fields"].update(mood="good")),
    ("ids.blank", Severity.GATE, lambda p: objective(p).update(id="")),
    ("ids.unique", Severity.GATE, lambda p: module(p, 1).update(id=module(p)["id"])),
    ("ids.unique", Severity.GATE, lambda p: activity(p).update(id=lesson(p)["id"])),
    ("ids.unique", Severity.GATE, lambda p: objective(p).update(id="o2a")),
    ("ids.closed", Severity.GATE, lambda p: module(p)["fields"].update(requires=["ghost"])),
    ("ids.closed", Severity.GATE, lambda p: activity(p)["fields"].update(objectiveIds=["ghost"])),
    ("ids.closed", Severity.GATE, lambda p: objective(p).update(outcomeIds=["ghost"])),
    ("ids.closed", Severity.GATE, lambda p: lesson(p)["fields"]["items"][0].update(objectiveIds=["ghost"])),
    ("graph.cycle", Severity.GATE, lambda p: module(p)["fields"].update(requires=["m4"])),
    ("graph.cycle", Severity.GATE, lambda p: module(p)["fields"].update(requires=["m1"])),
    ("levels.minimum", Severity.GATE, lambda p: (p["nodes"].pop(), p["nodes"].pop())),
    ("levels.minimum", Severity.GATE, lambda p: lesson(p).update(children=[])),
    (
        "bounds.children",
        Severity.ERROR,
        lambda p: p["nodes"].append(module(p) | {"id": "m5", "children": []}),
    ),
    ("bounds.field", Severity.ERROR, lambda p: lesson(p)["fields"]["keyPoints"].pop()),
    ("bounds.field", Severity.ERROR, lambda p: p["fields"]["outcomes"].clear()),
    ("bounds.field", Severity.ERROR, lambda p: module(p)["fields"]["assessment"].update(weight=-1)),
    ("text.title_length", Severity.ERROR, lambda p: lesson(p).update(title="Ab")),
    ("text.title_length", Severity.ERROR, lambda p: p.update(title="x" * 121)),
    ("text.summary_length", Severity.ERROR, lambda p: lesson(p).update(summary="Bread rises. " * 40)),
    ("text.summary_missing", Severity.ERROR, lambda p: lesson(p).update(summary="  ")),
    ("text.summary_missing", Severity.WARNING, lambda p: activity(p).update(summary="")),
    ("text.summary_missing", Severity.ERROR, lambda p: p.update(summary="")),
    ("text.tags", Severity.WARNING, lambda p: lesson(p).update(tags=list("abcdefg"))),
    ("text.sibling_title", Severity.ERROR, lambda p: lesson(p).update(title=lesson(p, 1)["title"].upper())),
    (
        "text.similar_title",
        Severity.WARNING,
        lambda p: (
            lesson(p).update(title="The warm water of bread"),
            lesson(p, 1).update(title="Warm bread water"),
        ),
    ),
    ("language.tree", Severity.GATE, in_german),
    ("language.node", Severity.ERROR, one_in_german),
    (
        "objective.vague_verb",
        Severity.ERROR,
        lambda p: objective(p).update(text="Understand gluten in three ways"),
    ),
    (
        "objective.unknown_verb",
        Severity.WARNING,
        lambda p: objective(p).update(text="Gluten in three sentences"),
    ),
    ("objective.bloom", Severity.WARNING, lambda p: objective(p).update(bloom="create")),
    (
        "objective.two_verbs",
        Severity.WARNING,
        lambda p: objective(p).update(text="Explain and apply the two rules"),
    ),
    (
        "objective.length",
        Severity.WARNING,
        lambda p: objective(p).update(text="Explain gluten using two words"),
    ),
    (
        "objective.condition",
        Severity.WARNING,
        lambda p: objective(p).update(text="Explain three facts of wet dough"),
    ),
    (
        "objective.degree",
        Severity.WARNING,
        lambda p: objective(p).update(text="Explain gluten using the section"),
    ),
    ("alignment.unpractised", Severity.ERROR, add_objective),
    ("alignment.unassessed", Severity.ERROR, add_objective),
    (
        "alignment.outcome_unserved",
        Severity.ERROR,
        lambda p: p["fields"]["outcomes"][0].update(id="out9") or None,
    ),
    (
        "alignment.bloom_low",
        Severity.WARNING,
        lambda p: lesson(p)["fields"]["items"][0].update(bloom="remember"),
    ),
    (
        "alignment.bloom_high",
        Severity.WARNING,
        lambda p: lesson(p)["fields"]["items"][0].update(bloom="create"),
    ),
    ("order.late", Severity.ERROR, lambda p: lesson(p)["fields"].update(needs=["boule"])),
    ("order.late", Severity.ERROR, lambda p: p["nodes"].reverse()),
    ("order.unknown", Severity.ERROR, lambda p: lesson(p)["fields"].update(needs=["phlogiston"])),
    ("load.concepts", Severity.WARNING, lambda p: lesson(p)["fields"].update(introduces=list("abcde"))),
    ("load.minutes", Severity.WARNING, lambda p: activity(p).update(minutes=90)),
    ("load.minutes", Severity.WARNING, lambda p: activity(p).pop("minutes")),
    ("glossary.missing", Severity.WARNING, lambda p: lesson(p)["fields"]["introduces"].append("phlogiston")),
    (
        "glossary.unused",
        Severity.WARNING,
        lambda p: p["fields"]["glossary"].append({"term": "phlogiston", "definition": "No."}),
    ),
    ("redundancy.repeat", Severity.ERROR, lambda p: lesson(p).update(summary=lesson(p, 1, 2)["summary"])),
    (
        "coherence.off_topic",
        Severity.WARNING,
        lambda p: (
            activity(p).update(title="Racing engines", summary="Turbochargers compress intake air."),
            activity(p)["fields"].update(instructions="Dismantle exhaust manifolds carefully."),
        ),
    ),
    (
        "span.mismatch",
        Severity.ERROR,
        lambda p: lesson(p)["sources"][0].update(quote="Not what it says at all"),
    ),
    ("span.mismatch", Severity.ERROR, lambda p: lesson(p)["sources"][0].update(start=-5)),
    ("span.mismatch", Severity.ERROR, lambda p: lesson(p)["sources"][0].update(end=10**9)),
    ("span.unsupported", Severity.WARNING, lambda p: lesson(p).update(sources=lesson(p, 2, 3)["sources"])),
]
QUIZ_CASES: list[tuple[str, Severity, Callable[[Plain], Any]]] = [
    ("blueprint.unmet", Severity.WARNING, lambda p: p["fields"]["blueprint"][0].update(count=9)),
    (
        "item.difficulty_mix",
        Severity.WARNING,
        lambda p: [row.update(difficulty="hard") for row in p["fields"]["blueprint"][:2]],
    ),
    ("schema.required", Severity.GATE, lambda p: lesson(p)["fields"].pop("item")),
    ("ids.closed", Severity.GATE, lambda p: p["fields"]["blueprint"][0].update(objectiveId="ghost")),
    (
        "redundancy.repeat",
        Severity.ERROR,
        lambda p: lesson(p)["fields"].update(item=lesson(p, 1, 1)["fields"]["item"] | {"id": "other"}),
    ),
]
# Rules that need more than a change of one place; each has a test of its own below.
OTHERWISE = {"schema.size", "bounds.depth", "graph.chain", "object.missing"}


@pytest.mark.parametrize(("rule", "severity", "change"), COURSE_CASES)
def test_a_broken_rule_is_found_in_a_course(rule, severity, change):
    if rule == "schema.type_name":
        plain = msgspec.json.decode(msgspec.json.encode(course_tree()))
        change(plain)
        found = validate(msgspec.convert(plain, Tree), SPECS["course"], None)
    else:
        found = broken(change)
    assert (rule, severity) in {(one.rule, one.severity) for one in found}


@pytest.mark.parametrize(("rule", "severity", "change"), QUIZ_CASES)
def test_a_broken_rule_is_found_in_a_quiz(rule, severity, change):
    found = broken(change, quiz_tree())
    assert (rule, severity) in {(one.rule, one.severity) for one in found}


def test_every_rule_in_the_code_has_a_failing_case():
    folder = Path(aifactory.granulation.__file__).parent
    pattern = (
        r'"((?:schema|ids|bounds|levels|graph|text|language|objective|alignment|order|load|glossary|blueprint|span|'
        r'coherence|object|item|redundancy|edges|flow|story|skill|workload|handover)\.[a-z_]+)"'
    )
    written = {rule for path in folder.glob("*.py") for rule in re.findall(pattern, path.read_text("utf-8"))}
    cases = (*COURSE_CASES, *QUIZ_CASES, *SINGLE_CASES, *SET_CASES)
    newer = (*test_edges.CASES, *test_flow.CASES, *test_story.CASES, *test_path.CASES)
    tried = {case[0] for case in (*cases, *newer)} | OTHERWISE
    assert written - tried == set()
    assert tried - written == set()


def test_a_level_too_many_is_an_error():
    tree = course_tree()
    found = violations(tree, Counts(per_level=(4, 3)))
    assert {one.rule for one in found} >= {"bounds.depth"}


def test_a_tree_above_the_hard_cap_is_refused_quickly():
    tree = course_tree()
    many = msgspec.structs.replace(tree, nodes=tree.nodes * (MAX_NODES // 10))
    assert "schema.size" in {one.rule for one in violations(many)}


def test_a_long_chain_of_requirements_is_noted():
    tree = large_course(37 * 14)
    plain = msgspec.json.decode(msgspec.json.encode(tree))
    for before, node in zip(plain["nodes"], plain["nodes"][1:], strict=False):
        node["fields"]["requires"] = [before["id"]]
    found = validate(msgspec.convert(plain, Tree), SPECS["course"], None)
    assert "graph.chain" in {one.rule for one in found}


@pytest.mark.parametrize(
    ("wanted", "is_missing"),
    [
        (MandatoryObject(name="Gluten"), False),
        (MandatoryObject(name="gluten", where="1"), False),
        (MandatoryObject(name="gluten", where="1.1"), False),
        (MandatoryObject(name="gluten", where="4"), True),
        (MandatoryObject(name="sourdough starter", where="lesson"), False),
        (MandatoryObject(name="sourdough starter", where="module"), True),
        (MandatoryObject(name="phlogiston", kind="concept"), True),
        (MandatoryObject(name="glut"), True),
    ],
)
def test_mandatory_objects_must_appear_where_asked(wanted, is_missing):
    found = violations(course_tree(), objects=[wanted])
    assert ("object.missing" in {one.rule for one in found}) == is_missing


def test_fewer_than_the_minimum_may_be_asked_for():
    tree = course_tree(modules=2)
    assert {one.rule for one in violations(tree)} >= {"levels.minimum"}
    assert "levels.minimum" not in {one.rule for one in violations(tree, Counts(per_level=(2, 3, 2)))}


def test_gates_come_first_and_places_are_given():
    def change(plain: Plain) -> None:
        lesson(plain, 1).update(title="Ab")
        module(plain, 2)["fields"]["requires"] = ["ghost"]

    first, second, *_ = broken(change)
    assert (first.rule, first.path, first.pointer) == ("ids.closed", "3", "/nodes/2/fields/requires/0")
    assert (second.rule, second.path, second.node_id) == ("text.title_length", "1.2", "m1_l2")
    assert second.pointer == "/nodes/0/children/1/title"


def test_what_could_not_be_checked_is_said():
    from aifactory.granulation.index import TreeIndex

    tree = msgspec.structs.replace(course_tree(), language="sw")
    report = inspect(TreeIndex(tree=tree, spec=SPECS["course"], counts=None))
    assert set(report.checks_skipped) == {"language", "wording", "spans"}
    assert "spans" not in report.checks_run


def test_other_languages_are_not_judged_by_english_wording():
    tree = msgspec.structs.replace(course_tree(), language="sw")
    assert {one.rule for one in violations(tree) if one.rule.startswith("objective.")} == set()


@pytest.mark.parametrize("value", [None, 5, "x", [], {}, [[]], [{"a": 1}], {"a": {"b": []}}])
@pytest.mark.parametrize("name", ["objectives", "requires", "assessment"])
def test_fields_of_any_shape_are_refused_without_a_crash(name, value):
    broken(lambda plain: module(plain)["fields"].update({name: value}))
