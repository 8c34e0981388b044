# ruff: noqa: E501  (texts are data)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifactory.granulation.similarity import cosine, similar_pairs, tfidf_vectors
from aifactory.granulation.words import (
    bigram_similarity,
    content_stems,
    differs_from_language,
    overlap,
    primary_language,
    sentences,
    stem,
    words,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three? Four", 4),
        ("Version 3.5 is out. It works.", 2),
        ("Use e.g. salt or sugar. Stir.", 2),
        ("Dr. Smith met J. Doe. They left.", 2),
        ("First line\nsecond line", 2),
        ("He said “stop.” Then he left.", 2),
        ("一句。两句。", 2),
        ("", 0),
        ("   ", 0),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text, count):
    assert len(sentences(text)) == count


@pytest.mark.parametrize(
    ("left", "right"),
    [("retries", "retry"), ("boxes", "box"), ("kneading", "knead"), ("stopped", "stop"), ("queues", "queue")],
)
def test_inflected_words_share_a_stem(left, right):
    assert stem(left) == stem(right)


@pytest.mark.parametrize(("left", "right"), [("process", "processor"), ("gas", "gain"), ("status", "state")])
def test_different_words_keep_different_stems(left, right):
    assert stem(left) != stem(right)


def test_function_words_carry_no_content():
    assert content_stems("The rise of the loaf is in the oven", "en") == ["rise", "loaf", "oven"]


@given(st.text(max_size=200))
def test_words_are_the_same_with_and_without_apostrophes_elsewhere(text):
    assert words(text + " it's")[:-1] == words(text + " its")[:-1]


def test_primary_language_drops_region_and_case():
    assert primary_language("en-GB") == primary_language("EN_us") == "en"


TEXTS = {
    "en": "The dough rests in a warm place, and after an hour it is twice as large as it was before the rest. ",
    "de": "Der Teig ruht an einem warmen Ort, und nach einer Stunde ist er doppelt so groß wie er vor der Ruhe war. ",
    "es": "La masa descansa en un lugar cálido y después de una hora es el doble de grande que antes de la pausa. ",
    "fr": "La pâte repose dans un endroit chaud et après une heure elle est deux fois plus grande que avant le repos. ",
    "cs": "Těsto odpočívá na teplém místě a po hodině je dvakrát větší než bylo před odpočinkem, protože v něm je "
    "kvas. ",
}


@pytest.mark.parametrize("asked", sorted(TEXTS))
@pytest.mark.parametrize("written", sorted(TEXTS))
def test_a_text_in_another_language_is_told(asked, written):
    told = differs_from_language(words(TEXTS[written] * 3), asked)
    assert told == (None if asked == written else written)


def test_another_script_is_told_and_doubt_is_not():
    assert differs_from_language(words("Тесто отдыхает в тёплом месте. " * 10), "en") == "ru"
    assert differs_from_language(words("Тесто отдыхает в тёплом месте. " * 10), "uk") is None
    assert differs_from_language(words(TEXTS["de"])[:10], "en") is None
    assert differs_from_language(words("kubectl nginx redis postgres " * 20), "en") is None
    assert differs_from_language(words(TEXTS["de"] * 3), "sw") is None


@given(st.text(max_size=30), st.text(max_size=30))
def test_similarities_lie_between_nought_and_one_and_are_symmetric(left, right):
    assert 0 <= bigram_similarity(left, right) == bigram_similarity(right, left) <= 1
    assert 0 <= overlap(left, right) == overlap(right, left) <= 1
    assert bigram_similarity(left, left) == 1


DOCUMENTS = st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=8), max_size=14)


@given(DOCUMENTS, st.sampled_from([0.2, 0.4, 0.6, 0.9]))
def test_the_inverted_index_finds_exactly_the_similar_pairs(documents, threshold):
    vectors = tfidf_vectors(documents)
    expected = [
        (left, right)
        for left in range(len(vectors))
        for right in range(left + 1, len(vectors))
        if cosine(vectors[left], vectors[right]) >= threshold
    ]
    assert [pair[:2] for pair in similar_pairs(vectors, threshold)] == expected


def test_words_that_all_texts_share_make_none_alike():
    boilerplate = ["in", "this", "lesson", "you", "will", "read", "about"]
    documents = [
        [*boilerplate, *own.split()] for own in ("gluten flour net", "yeast gas sugar", "oven steam crust")
    ]
    documents += [[*boilerplate, f"filler{number}", f"other{number}"] for number in range(20)]
    assert similar_pairs(tfidf_vectors(documents), 0.4) == []
