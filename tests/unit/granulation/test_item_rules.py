# ruff: noqa: E501  (items are data)

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.unit.granulation.trees import SOURCE, quiz_tree

from aifactory.granulation.index import TreeIndex
from aifactory.granulation.item_rules import check_item, option_similarity
from aifactory.granulation.item_set_rules import check_item_sources, check_items
from aifactory.granulation.item_wording import is_question_or_completion
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Item, Tree
from aifactory.granulation.violations import Severity

Plain = dict[str, Any]
GATE, ERROR, WARNING = Severity.GATE, Severity.ERROR, Severity.WARNING


def option(text: str, correct: bool = False) -> Plain:
    return {"text": text, "correct": correct, "rationale": "The text says so." if correct else ""}


def single(stem: str = "Which part of the oven keeps the crust soft?", *texts: str, **rest: Any) -> Plain:
    """A single-choice item whose first text is the key; without texts, a sound one."""
    chosen = texts or ("Moist air", "Dry heat", "Red light")
    return {
        "id": "q",
        "kind": "single",
        "stem": stem,
        "objectiveIds": ["o1"],
        "bloom": "understand",
        "difficulty": "easy",
        "options": [option(text, not place) for place, text in enumerate(chosen)],
        **rest,
    }


def other(kind: str, stem: str, **rest: Any) -> Plain:
    made = {**single(stem), "kind": kind, **rest}
    if kind not in ("single", "multi"):
        made["options"] = rest.get("options", [])
    return made


def flaws(item: Plain, language: str = "en") -> set[tuple[str, Severity]]:
    return {(rule, severity) for rule, severity, _, _ in check_item(msgspec.convert(item, Item), language)}


def with_options(*options: Plain, kind: str = "single") -> Plain:
    return {**single(), "kind": kind, "options": list(options)}


SOUND = [
    single(),
    single("The crust stays soft because of", "moist air", "dry heat", "red light"),
    single("How many sides are pulled in one round?", "2", "4", "6"),
    single("Which range of hydration suits a bagel?", "50–57 %", "60–67 %", "70–77 %"),
    single(
        "Which of the following is NOT a sign of a finished loaf?",
        "A cold core",
        "A hollow sound",
        "A dark crust",
    ),
    single(
        "If the dough does not rise, what should the baker check first?", "The yeast", "The salt", "The oven"
    ),
    single("Which protocol retransmits lost segments?", "TCP", "UDP", "ICMP"),
    single("A baker who wants an open crumb should use a(n)", "slack dough", "even heat", "old flour"),
    single(
        "What does a proof at five degrees do?",
        "It deepens the taste",
        "It hardens the salt",
        "It dries the net",
    ),
    {
        **single("Which signs show a finished loaf?"),
        "kind": "multi",
        "options": [option("A hollow sound", True), option("A dark crust", True), option("A cold core")],
    },
    other("true_false", "Steam keeps the crust soft in the first minutes.", answer=True),
    other("true_false", "Salt and sugar slow the yeast.", answer=True),
    other("cloze", "The last rise before baking is called ____.", accepted=["proofing"]),
    other("cloze", "A round loaf with a tight skin is a ____.", accepted=["boule"]),
    other("short", "Name the last rise of a shaped loaf.", accepted=["proofing"]),
    other(
        "numeric",
        "How many grams of water make 70 % hydration with 500 g of flour?",
        value=350.0,
        tolerance=1.0,
    ),
    other(
        "match",
        "Match each loaf with its flour.",
        pairs=[{"left": "Bagel", "right": "Strong"}, {"left": "Cake", "right": "Weak"}],
    ),
    other("order", "Put the steps in order.", steps=["Mix", "Fold", "Bake"]),
    other(
        "essay",
        "Discuss why a slow proof deepens the taste.",
        rubric=[{"criterion": "Names enzymes", "points": 2}, {"criterion": "Names acids", "points": 2}],
    ),
]

# A rule, its severity and an item that breaks it; the sound items are the passing cases.
SINGLE_CASES: list[tuple[str, Severity, Plain]] = [
    ("item.stem_missing", ERROR, single(" ")),
    (
        "item.one_key",
        GATE,
        with_options(option("Moist air", True), option("Dry heat", True), option("Red light")),
    ),
    ("item.one_key", GATE, with_options(option("Moist air"), option("Dry heat"), option("Red light"))),
    (
        "item.no_key",
        ERROR,
        with_options(option("Moist air"), option("Dry heat"), option("Red light"), kind="multi"),
    ),
    (
        "item.all_keys",
        WARNING,
        with_options(*(option(one, True) for one in ("Moist air", "Dry heat", "Red light")), kind="multi"),
    ),
    ("item.incomplete", ERROR, other("true_false", "Steam keeps the crust soft.")),
    ("item.incomplete", ERROR, other("short", "Name the last rise.")),
    ("item.incomplete", ERROR, other("cloze", "The last rise is called proofing.", accepted=["proofing"])),
    ("item.incomplete", ERROR, other("cloze", "The ____ rise is ____.", accepted=["last"])),
    ("item.incomplete", ERROR, other("numeric", "How many grams of water?")),
    ("item.incomplete", ERROR, other("numeric", "How many grams of water?", value=1.0, tolerance=-1.0)),
    ("item.incomplete", ERROR, other("match", "Match.", pairs=[{"left": "a", "right": "b"}])),
    (
        "item.incomplete",
        ERROR,
        other("match", "Match.", pairs=[{"left": "a", "right": "b"}, {"left": "A", "right": "c"}]),
    ),
    ("item.incomplete", ERROR, other("order", "Order.", steps=["Mix", "Bake"])),
    ("item.incomplete", ERROR, other("essay", "Discuss.", rubric=[{"criterion": "Good", "points": 2}])),
    ("item.option_count", ERROR, single("Which part keeps the crust soft?", "Moist air", "Dry heat")),
    (
        "item.option_count",
        ERROR,
        single("Which part is it?", "Air", "Heat", "Light", "Salt", "Water", "Flour"),
    ),
    (
        "item.duplicate_option",
        ERROR,
        single("Which part keeps it soft?", "Moist air", "Dry heat", "dry  HEAT."),
    ),
    (
        "item.option_article",
        ERROR,
        single("Which part keeps it soft?", "Moist air", "Dry oven", "The dry oven"),
    ),
    ("item.blank_option", ERROR, single("Which part keeps it soft?", " ", "Dry heat", "Red light")),
    (
        "item.rationale",
        ERROR,
        with_options({"text": "Moist air", "correct": True}, option("Dry heat"), option("Red light")),
    ),
    (
        "item.longest_key",
        WARNING,
        single("What keeps it soft?", "Moist air that surrounds the loaf", "Dry heat", "Red light"),
    ),
    ("item.all_or_none", WARNING, single("What keeps it soft?", "Moist air", "Dry heat", "All of the above")),
    ("item.all_or_none", WARNING, single("What keeps it soft?", "Moist air", "Dry heat", "None of these")),
    ("item.all_or_none", WARNING, single("What keeps it soft?", "Moist air", "Dry heat", "Both A and B")),
    (
        "item.absolute",
        WARNING,
        single("What does salt do?", "It slows yeast", "It always kills yeast", "It feeds yeast"),
    ),
    (
        "item.absolute",
        WARNING,
        single("What does salt do?", "It slows yeast", "It never dissolves", "It feeds yeast"),
    ),
    ("item.negative_stem", WARNING, single("Which of these is not a sign of a finished loaf?")),
    ("item.negative_stem", WARNING, single("All of these lift the loaf except")),
    ("item.negative_stem", WARNING, single("The ____ is not a sign of a finished loaf.")),
    ("item.double_negative", ERROR, single("Which step is not uncommon in a bakery?")),
    (
        "item.double_negative",
        ERROR,
        single("Which is NOT true of salt?", "It slows yeast", "It does not melt", "It tastes good"),
    ),
    ("item.stem_form", WARNING, single("Choose the best part of the oven.")),
    ("item.stem_form", WARNING, single("What keeps the crust of the loaf soft")),
    (
        "item.grammar",
        WARNING,
        single("A baker who wants steam needs an", "oven with a lid", "pan with a lid", "rack with a lid"),
    ),
    ("item.grammar", WARNING, single("What lifts the loaf?", "trapped bubbles", "oven light", "table salt")),
    (
        "item.grammar",
        WARNING,
        single("Bakers use steam to", "keep the shell soft", "browning the shell", "salt the shell"),
    ),
    ("item.grammar", WARNING, other("cloze", "It rests in an ____.", accepted=["basket"])),
    (
        "item.overlapping_ranges",
        WARNING,
        single("Which range suits a bagel?", "50–60 %", "60–70 %", "75–80 %"),
    ),
    (
        "item.overlapping_ranges",
        WARNING,
        single("How long does it rest?", "less than 20 minutes", "more than 10 minutes", "50 to 60 minutes"),
    ),
    ("item.unsorted_numbers", WARNING, single("How many sides are pulled?", "4", "2", "6")),
    ("item.unfocused", WARNING, single("Which of the following is true?")),
    ("item.unfocused", WARNING, single("Which statement is correct?")),
    ("item.long_stem", WARNING, single("Which part " + "of the warm oven " * 16 + "keeps the crust soft?")),
    (
        "item.long_option",
        WARNING,
        single("What keeps it soft?", "Moist air", "Dry heat", "Light " + "that shines on it " * 8),
    ),
    (
        "item.two_clauses",
        WARNING,
        other("true_false", "Steam keeps the crust soft and salt is white.", answer=True),
    ),
    (
        "item.two_clauses",
        WARNING,
        other("true_false", "The loaf rises because yeast makes gas.", answer=True),
    ),
    ("item.lead_in", WARNING, single("As you know, bread is old. What keeps the crust soft?")),
    ("item.lead_in", WARNING, single("Obviously, what keeps the crust soft?")),
    (
        "item.lead_in",
        WARNING,
        single(
            "My grandmother moved into her little house near Vienna many years before the war. What keeps crust soft?"
        ),
    ),
    (
        "item.distractor_similarity",
        WARNING,
        single("Which rise is last?", "proofing", "proofings", "folding"),
    ),
    (
        "item.distractor_similarity",
        WARNING,
        single("Which rise is last?", "It", "12345 + 67890 = §§§§§§§§§§§§§§§§§§§§§§§§§§§§§§§§§§", "folding"),
    ),
    ("item.no_objective", ERROR, {**single(), "objectiveIds": []}),
    ("item.points", ERROR, {**single(), "points": 0}),
]


@pytest.mark.parametrize("item", SOUND, ids=lambda item: item["stem"][:40])
def test_a_sound_item_has_no_flaw(item):
    assert flaws(item) == set()


@pytest.mark.parametrize(("rule", "severity", "item"), SINGLE_CASES)
def test_a_flaw_is_found(rule, severity, item):
    assert (rule, severity) in flaws(item)


def test_outside_english_only_what_needs_no_words_is_checked():
    item = single("Welche Aussage ist nicht falsch", "Immer", "Nie", "Alle")
    assert flaws(item, "de") == set()


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("What is steam?", True),
        ("Steam is", True),
        ("Steam is:", True),
        ("Steam is ____.", True),
        ("Look at the figure. What is steam?", True),
        ("Name the part.", False),
        ("Steam is used in ovens.", False),
        ("What is steam", False),
        ("“What is steam?”", True),
    ],
)
def test_stems_end_as_questions_or_completions(stem, expected):
    assert is_question_or_completion(stem) == expected


@pytest.mark.parametrize(
    ("key", "distractor"),
    [
        ("Paris", "London"),
        ("TCP", "UDP"),
        ("an elastic net", "a sugar syrup"),
        ("32 bits", "64 bits"),
        ("12", "13"),
    ],
)
def test_plausible_distractors_are_neither_too_near_nor_too_far(key, distractor):
    assert 0.1 <= option_similarity(key, distractor, "en") <= 0.9


def _all_first(plain: Plain) -> None:
    for item in items(plain):
        item["options"].sort(key=lambda one: not one["correct"])


def _give_away(plain: Plain) -> None:
    first, second, *_ = items(plain)
    first["stem"] = "Which elastic structure do wheat proteins build?"
    first["options"] = [option("gluten net", True), option("sugar syrup"), option("thick cream")]
    second["stem"] = (
        "How does the gluten net, the elastic structure that wheat proteins build, behave in hot water?"
    )


def _clang(plain: Plain) -> None:
    items(plain)[0]["stem"] = "What does wheat protein, an elastic substance, build when it meets water?"


def items(plain: Plain) -> list[Plain]:
    return [node["fields"]["item"] for section in plain["nodes"] for node in section["children"]]


def _swap_key(plain: Plain) -> None:
    # Of its distractors one stands in the cited passage, and the key does not.
    item = items(plain)[0]
    item["options"] = [option("sugar syrup", True), option("elastic net"), option("thick cream")]


SET_CASES: list[tuple[str, Severity, Callable[[Plain], Any]]] = [
    ("item.key_skew", WARNING, _all_first),
    ("item.clang", WARNING, _clang),
    ("item.given_away", WARNING, _give_away),
    ("item.key_repeated", WARNING, lambda p: items(p)[1].update(options=items(p)[0]["options"])),
    ("item.similar", WARNING, lambda p: items(p)[4].update(items(p)[9] | {"id": "again"})),
    ("item.key_source", ERROR, _swap_key),
    (
        "item.key_unsupported",
        WARNING,
        lambda p: items(p)[0].update(
            options=[option("sugar syrup", True), option("red light"), option("thick cream")]
        ),
    ),
]


def set_flaws(plain: Plain) -> set[tuple[str, Severity]]:
    index = TreeIndex(tree=msgspec.convert(plain, Tree), spec=builtin_specs()["quiz"], counts=None)
    found = [*check_items(index), *check_item_sources(index, SOURCE)]
    return {(one.rule, one.severity) for one in found}


def test_a_sound_quiz_has_no_flaw_between_its_items():
    assert set_flaws(msgspec.json.decode(msgspec.json.encode(quiz_tree()))) == set()


@pytest.mark.parametrize(("rule", "severity", "change"), SET_CASES)
def test_a_flaw_between_items_is_found(rule, severity, change):
    plain = msgspec.json.decode(msgspec.json.encode(quiz_tree()))
    change(plain)
    assert (rule, severity) in set_flaws(plain)
