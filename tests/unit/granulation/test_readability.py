# ruff: noqa: E501  (texts are data)

import pytest

from aifactory.granulation.readability import (
    Reading,
    automated_readability_index,
    count,
    flesch_kincaid_grade,
    syllables,
)

GETTYSBURG = (
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in "
    "Liberty, and dedicated to the proposition that all men are created equal. Now we are engaged in a great "
    "civil war, testing whether that nation, or any nation so conceived and so dedicated, can long endure. We "
    "are met on a great battle-field of that war. We have come to dedicate a portion of that field, as a final "
    "resting place for those who here gave their lives that that nation might live. It is altogether fitting "
    "and proper that we should do this. But, in a larger sense, we can not dedicate, we can not consecrate, we "
    "can not hallow this ground. The brave men, living and dead, who struggled here, have consecrated it, far "
    "above our poor power to add or detract. The world will little note, nor long remember what we say here, "
    "but it can never forget what they did here. It is for us the living, rather, to be dedicated here to the "
    "unfinished work which they who fought here have thus far so nobly advanced. It is rather for us to be here "
    "dedicated to the great task remaining before us, that from these honored dead we take increased devotion "
    "to that cause for which they gave the last full measure of devotion, that we here highly resolve that "
    "these dead shall not have died in vain, that this nation, under God, shall have a new birth of freedom, "
    "and that government of the people, by the people, for the people, shall not perish from the earth."
)

# Dictionary syllable counts.
KNOWN = {
    "the": 1,
    "through": 1,
    "earth": 1,
    "lives": 1,
    "changed": 1,
    "stopped": 1,
    "hour": 1,
    "yes": 1,
    "table": 2,
    "simple": 2,
    "nation": 2,
    "changes": 2,
    "wanted": 2,
    "people": 2,
    "science": 2,
    "every": 2,
    "quiet": 2,
    "useful": 2,
    "movement": 2,
    "rhythm": 2,
    "prism": 2,
    "question": 2,
    "creature": 2,
    "equal": 2,
    "idea": 3,
    "radio": 3,
    "various": 3,
    "completely": 3,
    "different": 3,
    "liberty": 3,
    "audience": 3,
    "evaluate": 4,
    "situation": 4,
    "dedicated": 4,
    "variety": 4,
    "algorithm": 4,
    "mechanism": 4,
    "reality": 4,
    "theoretical": 5,
    "readability": 5,
    "possible": 3,
    "experience": 4,
    "patient": 2,
    "special": 2,
}


def test_syllables_agree_with_a_dictionary():
    wrong = {word: syllables(word) for word, number in KNOWN.items() if syllables(word) != number}
    assert len(wrong) <= 0.03 * len(KNOWN), wrong


def test_the_gettysburg_address_has_its_published_grade():
    # Flesch–Kincaid 10.9 and ARI 12 are what published calculators give for the address.
    reading = count([GETTYSBURG])
    assert reading.sentences == 10
    assert flesch_kincaid_grade(reading) == pytest.approx(10.9, abs=0.5)
    assert automated_readability_index(reading) == pytest.approx(12.0, abs=0.5)


def test_the_example_of_the_encyclopaedia_has_its_grade():
    # "The cat sat on the mat" has Flesch reading ease 116 (Wikipedia): six words, six syllables.
    reading = count(["The cat sat on the mat."])
    assert (reading.words, reading.syllables) == (6, 6)
    assert flesch_kincaid_grade(reading) == pytest.approx(-1.45, abs=0.01)


def test_the_formulas_are_those_of_the_papers():
    reading = Reading(sentences=5, words=100, syllables=150, characters=470)
    assert flesch_kincaid_grade(reading) == pytest.approx(0.39 * 20 + 11.8 * 1.5 - 15.59)
    assert automated_readability_index(reading) == pytest.approx(4.71 * 4.7 + 0.5 * 20 - 21.43)


def test_longer_words_and_sentences_raise_the_grade():
    easy = flesch_kincaid_grade(count(["The dog ran home. It was late."]))
    hard = flesch_kincaid_grade(
        count(["Institutional considerations necessitate methodological reorientation."])
    )
    assert easy < 3 < 15 < hard


def test_no_text_counts_nothing():
    assert count(["", "  ", "…"]) == Reading(sentences=0, words=0, syllables=0, characters=0)
