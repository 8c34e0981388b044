import pytest

from aifactory.granulation.objective_rules import bloom_levels, check_objective, leading_verb, second_verb
from aifactory.granulation.tree import Bloom


def rules(text: str, bloom: Bloom = Bloom.UNDERSTAND, language: str = "en") -> set[str]:
    return {rule for rule, _, _ in check_objective(text, bloom, language)}


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("Explain how yeast works", "explain"),
        ("Students will be able to explain how yeast works", "explain"),
        ("You can calculate the hydration", "calculate"),
        ("Given two recipes, compare their hydration", "compare"),
        ("By the end of the module, learners will be able to configure a proxy", "configure"),
        ("To describe the oven", "describe"),
        ("Correctly label three parts", "label"),
        ("Comparing two loaves", "compare"),
        ("Classifies loaves by crust", "classify"),
        ("", ""),
    ],
)
def test_the_verb_is_found_behind_the_usual_openings(text, verb):
    assert leading_verb(text) == verb


@pytest.mark.parametrize("verb", ["understand", "know", "learn", "appreciate", "explore", "cover"])
def test_verbs_that_nobody_can_observe_are_flagged(verb):
    assert "objective.vague_verb" in rules(
        f"{verb.capitalize()} how gluten forms in wet dough, in three steps"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Be aware of the dangers of steam, using two examples",
        "Be familiar with three kinds of flour, using labels",
        "Gain an understanding of the oven, using two sketches",
        "Develop a deep appreciation of crust, using two loaves",
    ],
)
def test_vague_phrases_are_flagged(text):
    assert "objective.vague_verb" in rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "Explain in three sentences how gluten forms in wet dough, using the section on flour",
        "Given the weights of two ingredients, calculate the hydration to the nearest percent",
        "Design a schedule with four steps for one loaf, using the table of temperatures",
        "Define the term tidal range in one sentence, without notes",
    ],
)
def test_sound_objectives_pass(text):
    verb = leading_verb(text)
    assert rules(text, bloom_levels(verb)[0]) == set()


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("Explain and apply the rule of thirds", "apply"),
        ("Describe, compare and rank three loaves", "rank"),
        ("Explain the rule, then apply it to a loaf", "apply"),
        ("Explain the rise and fall of dough", ""),
        ("Explain how to mix and rest dough", ""),
        ("Compare flour and water by weight", ""),
        ("Explain the difference between design and test of a loaf", ""),
    ],
)
def test_a_second_verb_is_told_from_a_noun(text, second):
    assert second_verb(text) == second


def test_the_level_of_the_verb_must_be_the_level_claimed():
    text = "List four kinds of flour from memory, without any notes at hand"
    assert "objective.bloom" in rules(text, Bloom.CREATE)
    assert "objective.bloom" not in rules(text, Bloom.REMEMBER)


@pytest.mark.parametrize(("count", "flagged"), [(7, True), (8, False), (25, False), (26, True)])
def test_eight_to_twenty_five_words(count, flagged):
    text = " ".join(["Explain", "two", "using", *["word"] * (count - 3)])
    assert ("objective.length" in rules(text)) == flagged


def test_every_level_has_verbs():
    assert all(
        bloom_levels(verb)[0] is bloom
        for bloom, verb in zip(
            Bloom, ("define", "explain", "calculate", "analyze", "judge", "design"), strict=True
        )
    )
