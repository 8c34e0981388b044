import pytest

from aifactory.granulation.offline.sentences import clean, split_sentences, stands_alone, without_connective


def _split(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text, 0, len(text))]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Dr. Smith paid 3.5 million. He left.", 2),
        ("Use a solvent, e.g. Water or oil. Then wait.", 2),
        ("See fig. 3 for details. It is clear.", 2),
        ("It faces the Sun. High water follows.", 2),
        ("The answer is no. The question stays.", 2),
        ("J. Smith wrote it. “Really?” she said. Yes!", 3),
        ("We met at 5 p.m. The rain fell.", 2),
        ("水は冷たい。空は青い。", 2),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, count: int) -> None:
    assert len(_split(text)) == count


def test_markup_and_line_breaks_are_gone_from_what_is_shown() -> None:
    raw = "A **floc** is a [clump](http://x.org/a) of\n> `particles`, see ![logo](a.png)<br> &amp; "
    raw += "treat-\nment."
    assert clean(raw) == "A floc is a clump of particles, see & treatment."


@pytest.mark.parametrize(
    "sentence",
    [
        "This keeps the metal out.",
        "However, it fails.",
        "The other method is slower.",
        "As we saw above, water rises.",
        "I think that tides matter.",
        "For example, sand works.",
    ],
)
def test_sentences_that_lean_on_others_do_not_stand_alone(sentence: str) -> None:
    assert not stands_alone(sentence)


def test_a_connective_can_be_cut_off() -> None:
    assert without_connective("However, chlorine needs time.") == "Chlorine needs time."
    assert stands_alone(without_connective("But continents stand in the way."))
