"""Every rule of cards and claims has a case that breaks it, and the right sub-score falls."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.granulation.offline.samples import digest_of, example, make

import aifactory.granulation
from aifactory.granulation.rules_cards import Card, check_card
from aifactory.granulation.rules_claims import check_claim
from aifactory.granulation.scoring import Score, score
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import SpecError, builtin_specs, load_spec
from aifactory.granulation.tree import Tree
from aifactory.granulation.validation import Severity, Violation, validate

SOURCE = "tides.txt"
SIZES = {"flashcards": (3, 8), "document": (5, 2, 3)}
Plain = dict[str, Any]


@cache
def base(structure_type: str) -> Tree:
    return make(SOURCE, structure_type, *SIZES[structure_type])[1]


def changed(structure_type: str, change: Callable[[Plain], Any]) -> Tree:
    plain = msgspec.json.decode(msgspec.json.encode(base(structure_type)))
    change(plain)
    return msgspec.convert(plain, Tree)


def broken(tree: Tree) -> list[Violation]:
    counts = Counts(per_level=SIZES[tree.structure_type])
    return validate(tree, builtin_specs()[tree.structure_type], counts, text=example(SOURCE))


def scored(tree: Tree) -> Score:
    digest = digest_of(SOURCE)
    return score(
        tree,
        builtin_specs()[tree.structure_type],
        text=example(SOURCE),
        keyphrases=[(phrase.text, phrase.weight) for phrase in digest.keyphrases],
        counts=Counts(per_level=SIZES[tree.structure_type]),
    )


@cache
def base_broken(structure_type: str) -> list[Violation]:
    return broken(base(structure_type))


@cache
def base_scored(structure_type: str) -> Score:
    return scored(base(structure_type))


def card(front: str, back: str, kind: str = "basic", *quotes: str) -> Card:
    return Card(owner=0, pointer="", kind=kind, front=front, back=back, quotes=quotes)


SENTENCE = "Friction on the sea floor slows the turning of the Earth."
LONG = "and so on " * 21
CARD_CASES = [
    ("card.front_blank", Severity.ERROR, card("", "The sea.")),
    ("card.back_blank", Severity.ERROR, card("What rises?", " ")),
    ("card.gap", Severity.ERROR, card("The ____ turns.", "Earth")),
    ("card.gap", Severity.ERROR, card("The Moon turns round us all.", "Earth", "cloze")),
    ("card.gap", Severity.ERROR, card("The ____ turns round the ____ every day.", "Earth", "cloze")),
    ("card.cloze_long", Severity.WARNING, card("The Moon is ____ away from us.", "a b c d e f g", "cloze")),
    ("card.cloze_context", Severity.WARNING, card("The ____ turns.", "Earth", "cloze")),
    (
        "card.cloze_answer",
        Severity.ERROR,
        card("Friction on the sea floor slows the turning of the ____.", "Mars", "cloze", SENTENCE),
    ),
    ("card.give_away", Severity.ERROR, card("What is the Moon that circles the Earth?", "the Earth")),
    ("card.give_away", Severity.ERROR, card("Spring tide", "A spring tide is a large one.", "reversed")),
    (
        "card.give_away",
        Severity.ERROR,
        card("The Earth is round, and ____ is the name of the Earth.", "Earth", "cloze"),
    ),
    ("card.front_long", Severity.WARNING, card(f"{LONG}?", "Yes.")),
    ("card.back_long", Severity.WARNING, card("What follows?", f"{LONG}.")),
    ("card.one_fact", Severity.WARNING, card("What is a tide and why does it rise?", "The Moon.")),
    ("card.one_fact", Severity.WARNING, card("What is a tide?", "It rises. It falls. It rises again.")),
    (
        "card.one_fact",
        Severity.WARNING,
        card("What are the steps?", " ".join(f"({n}) Go." for n in range(1, 11))),
    ),
    ("card.front_form", Severity.WARNING, card("The tide rises and falls twice in every lunar day.", "Yes.")),
    ("card.front_form", Severity.WARNING, card("What is a tide?", "The rise of the sea.", "reversed")),
]


@pytest.mark.parametrize(("rule", "severity", "wrong"), CARD_CASES)
def test_a_flaw_of_a_card_is_found(rule: str, severity: Severity, wrong: Card) -> None:
    assert (rule, severity) in {flaw[:2] for flaw in check_card(wrong, "en")}


@pytest.mark.parametrize(
    "sound",
    [
        card("What is a tide?", "The regular rise and fall of the sea."),
        card("Neap tide", "A tide with an especially small range.", "reversed"),
        card("Name the three steps of the test", "(1) Fill. (2) Stir. (3) Wait."),
        card("The highest water comes after the full moon. Why?", "Because the ocean needs time."),
        card("Friction on the sea floor slows the turning of the ____.", "Earth", "cloze", SENTENCE),
        card("The water rises by ____ metres in an hour.", "1.5", "cloze", "It rises by 1.5 metres."),
        # A letter of the answer in another word of the front gives nothing away.
        card("Which gas do bubbles of air hold?", "Air oxygen"),
    ],
)
def test_a_sound_card_has_no_flaw(sound: Card) -> None:
    assert check_card(sound, "en") == []


CLAIM_CASES = [
    ("claim.missing", Severity.ERROR, "Tides rise"),
    ("claim.one", Severity.ERROR, "The tide rises in the morning. It falls in the evening."),
    ("claim.long", Severity.WARNING, f"The tide rises {LONG}."),
    ("claim.question", Severity.WARNING, "Why does the tide rise at noon?"),
]


@pytest.mark.parametrize(("rule", "severity", "claim"), CLAIM_CASES)
def test_a_flaw_of_a_claim_is_found(rule: str, severity: Severity, claim: str) -> None:
    assert (rule, severity) in {flaw[:2] for flaw in check_claim(claim)}
    assert list(check_claim("The tide rises for about six hours, e.g. from noon on.")) == []


def first_cards(plain: Plain) -> list[Plain]:
    return plain["nodes"][0]["children"]


def first_points(plain: Plain) -> list[Plain]:
    return plain["nodes"][0]["children"][0]["children"]


def same_front(plain: Plain) -> None:
    first, second, *_ = first_cards(plain)
    second["fields"]["front"] = first["fields"]["front"].upper()


def similar_front(plain: Plain) -> None:
    """A question asked again in nearly its words: nothing new is covered by it."""
    cards = [one["fields"] for group in plain["nodes"] for one in group["children"]]
    asked = [one for one in cards if one["cardKind"] == "basic" and one["front"].endswith("?")]
    first, second = sorted(asked, key=lambda one: -len(one["front"]))[:2]
    second["front"] = first["front"].replace("?", ", then?")


def repeated_claim(plain: Plain) -> None:
    first, second, *_ = first_points(plain)
    second["fields"]["claim"] = first["fields"]["claim"]


def hollow_heading(plain: Plain) -> None:
    plain["nodes"][0]["children"][0]["title"] = "Bishops and castling"


def stray_leaf(plain: Plain) -> None:
    first_points(plain)[0]["fields"]["claim"] = "Bishops develop early while castling protects kings."


def swapped_sections(plain: Plain) -> None:
    """Only the source tells the order: needs would show it too."""
    for section in plain["nodes"]:
        for subsection in section["children"]:
            subsection["fields"]["needs"] = []
    plain["nodes"].insert(0, plain["nodes"].pop(1))


TREE_CASES = [
    ("card.same_front", Severity.ERROR, "flashcards", same_front, "itemQuality"),
    ("card.similar", Severity.WARNING, "flashcards", similar_front, "itemQuality"),
    ("claim.repeated", Severity.ERROR, "document", repeated_claim, "nonRedundancy"),
    (
        "claim.no_evidence",
        Severity.ERROR,
        "document",
        lambda plain: first_points(plain)[0].update(sources=[]),
        "grounding",
    ),
    ("headings.hollow", Severity.WARNING, "document", hollow_heading, "alignment"),
    ("headings.stray", Severity.WARNING, "document", stray_leaf, "alignment"),
    ("source_order.late", Severity.WARNING, "document", swapped_sections, "order"),
]


@pytest.mark.parametrize(("rule", "severity", "structure_type", "change", "part"), TREE_CASES)
def test_a_broken_rule_between_nodes_is_found_and_lowers_its_sub_score(
    rule: str, severity: Severity, structure_type: str, change: Callable[[Plain], Any], part: str
) -> None:
    sound, worse = base_broken(structure_type), changed(structure_type, change)
    assert rule not in {one.rule for one in sound} or rule.startswith("headings.")
    found = [one for one in broken(worse) if one.rule == rule]
    assert len(found) > len([one for one in sound if one.rule == rule])
    assert {one.severity for one in found} == {severity}
    before, after = base_scored(structure_type), scored(worse)
    assert after.sub_scores[part].value < before.sub_scores[part].value
    assert (after.exact or 0) < (before.exact or 0)


def blank_backs(plain: Plain) -> None:
    for one in first_cards(plain):
        one["fields"]["back"] = " "


def copied_cards(plain: Plain) -> None:
    model, *others = first_cards(plain)
    for one in others[:3]:
        one["fields"] = dict(model["fields"])


def hard_words(plain: Plain) -> None:
    for section in plain["nodes"]:
        for subsection in section["children"]:
            for point in subsection["children"]:
                point["fields"]["claim"] = (
                    point["fields"]["claim"].rstrip(".")
                    + " notwithstanding epistemological institutionalisation considerations."
                )


def dropped_groups(plain: Plain) -> None:
    del plain["nodes"][-1]


def uneven(plain: Plain) -> None:
    del first_cards(plain)[5:]


def false_quotes(plain: Plain) -> None:
    for one in first_points(plain):
        one["sources"][0]["quote"] = "Experts agree on this point."


@pytest.mark.parametrize(
    ("structure_type", "change", "part"),
    [
        ("flashcards", blank_backs, "itemQuality"),
        ("flashcards", copied_cards, "nonRedundancy"),
        ("flashcards", dropped_groups, "coverage"),
        ("flashcards", uneven, "balance"),
        ("document", hard_words, "readability"),
        ("document", dropped_groups, "coverage"),
        ("document", false_quotes, "grounding"),
        (
            "document",
            lambda plain: plain["nodes"][0].update(summary=""),
            "form",
        ),
        (
            "document",
            lambda plain: [one["fields"].update(claim="No?") for one in first_points(plain)],
            "form",
        ),
    ],
)
def test_what_is_made_worse_lowers_the_right_sub_score(
    structure_type: str, change: Callable[[Plain], Any], part: str
) -> None:
    before, after = base_scored(structure_type), scored(changed(structure_type, change))
    assert after.sub_scores[part].value < before.sub_scores[part].value
    assert (after.exact or 0) < (before.exact or 0)


@pytest.mark.parametrize("structure_type", SIZES)
def test_nothing_is_worth_nothing(structure_type: str) -> None:
    empty = msgspec.structs.replace(base(structure_type), nodes=())
    assert scored(empty).score == 0
    assert all(part.value == 0 for part in scored(empty).sub_scores.values())


@pytest.mark.parametrize("structure_type", SIZES)
def test_too_few_nodes_fail_a_gate(structure_type: str) -> None:
    tree = changed(structure_type, lambda plain: plain["nodes"].__delitem__(slice(1, None)))
    assert scored(tree).gates_failed == ("levels.minimum",)


def test_every_rule_in_the_code_has_a_failing_case() -> None:
    folder = Path(aifactory.granulation.__file__).parent
    pattern = r'"((?:card|claim|headings|source_order)\.[a-z_]+)"'
    written = {rule for path in folder.glob("rules_c*.py") for rule in re.findall(pattern, path.read_text())}
    tried = {case[0] for case in (*CARD_CASES, *CLAIM_CASES, *TREE_CASES)}
    assert written <= tried
    # These are made of the side's name.
    assert tried - written == {
        f"card.{side}_{flaw}" for side in ("front", "back") for flaw in ("blank", "long")
    }


def test_the_types_have_the_weights_of_the_design() -> None:
    assert builtin_specs()["flashcards"].weights == {
        "coverage": 0.30,
        "nonRedundancy": 0.20,
        "itemQuality": 0.30,
        "balance": 0.10,
        "readability": 0.10,
    }
    assert builtin_specs()["document"].weights == {
        "coverage": 0.30,
        "alignment": 0.10,
        "order": 0.08,
        "nonRedundancy": 0.16,
        "balance": 0.10,
        "form": 0.08,
        "readability": 0.18,
    }


def test_a_type_of_ones_own_can_switch_the_rules_on() -> None:
    own = {
        "type": "vocabulary",
        "title": "Vocabulary",
        "weights": {"itemQuality": 0.6, "alignment": 0.4},
        "rules": ["headings"],
        "levels": [
            {"kind": "topic", "title": "Topic", "min": 1, "max": 9},
            {
                "kind": "word",
                "title": "Word",
                "min": 1,
                "max": 50,
                "rules": ["card"],
                "fields": {
                    "front": {"type": "text"},
                    "back": {"type": "text"},
                    "cardKind": {"type": "text"},
                },
            },
        ],
    }
    spec = load_spec(msgspec.json.encode(own))
    plain = msgspec.json.decode(msgspec.json.encode(base("flashcards")))
    plain["structureType"] = "vocabulary"
    for group in plain["nodes"]:
        group["kind"] = "topic"
        for one in group["children"]:
            one["kind"] = "word"
    plain["nodes"][0]["children"][0]["fields"]["back"] = ""
    found = score(msgspec.convert(plain, Tree), spec)
    assert found.gates_failed == ()
    assert 0 < found.sub_scores["itemQuality"].value < 1
    assert found.sub_scores["alignment"].value > 0.5

    del own["levels"][1]["fields"]["back"]  # type: ignore[index]
    with pytest.raises(SpecError, match="'card' needs the field 'back'"):
        load_spec(msgspec.json.encode(own))
