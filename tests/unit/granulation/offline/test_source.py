import msgspec
import pytest
from tests.unit.granulation.offline.samples import DOCUMENTS, example, format_of

from aifactory.granulation.offline.source import Digest, SourceError, decode_source, read_source

WATER = example("drinking-water.md")
FILLER = "The pump moves clean water from the well to the tank on the hill behind the old farm. " * 8


def test_utf8_with_and_without_bom_and_utf16_decode_to_the_same_text() -> None:
    text = "Crème brûlée — 5 °C"
    assert decode_source(text.encode()) == text
    assert decode_source(b"\xef\xbb\xbf" + text.encode()) == text
    assert decode_source(text.encode("utf-16")) == text


def test_other_encodings_are_refused_with_the_byte_offset_and_what_to_do() -> None:
    with pytest.raises(SourceError, match=r"byte 2 .*save it as UTF-8") as refused:
        decode_source("Crème".encode("latin-1"))
    assert refused.value.code == "source_encoding"


@pytest.mark.parametrize(
    "data", [b"\x00\x01\x02", b"PK\x03\x04" + bytes(40), b"word " * 50 + b"\x00", b"\x01\x02ab" * 50]
)
def test_binary_data_is_refused_as_not_text(data: bytes) -> None:
    with pytest.raises(SourceError) as refused:
        decode_source(data)
    assert refused.value.code == "source_not_text"


def test_an_empty_source_and_a_short_one_are_refused_with_numbers() -> None:
    with pytest.raises(SourceError) as empty:
        read_source(" \n\t", format="text", name="a.txt")
    assert empty.value.code == "source_empty"
    with pytest.raises(SourceError, match=r"6 words in 1 sentences.*80 words") as short:
        read_source("This source is far too short.", format="text", name="a.txt")
    assert short.value.code == "source_too_short"


def test_code_and_tables_do_not_count_as_words_of_the_source() -> None:
    text = "```\n" + FILLER + "\n```\n\n| a | b |\n|---|---|\n| " + FILLER + " | x |\n"
    with pytest.raises(SourceError) as refused:
        read_source(text, format="markdown", name="a.md")
    assert refused.value.code == "source_too_short"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_offsets_point_into_the_original_text(name: str) -> None:
    text = example(name)
    digest = read_source(text, format=format_of(name), name=name)
    for sentence in digest.sentences:
        passage = text[sentence.start : sentence.end]
        assert passage == passage.strip() != ""
    for section in digest.sections[1:]:
        assert text[section.heading_start : section.heading_end] == section.title
    for concept in digest.concepts:
        assert concept.term.lower() in " ".join(text[concept.start : concept.end].lower().split())


def test_windows_line_ends_keep_the_offsets_exact() -> None:
    text = WATER.replace("\n", "\r\n")
    digest = read_source(text, format="markdown", name="water.md")
    assert [section.title for section in digest.sections] == [
        section.title for section in read_source(WATER, format="markdown", name="water.md").sections
    ]
    assert any(
        text[s.start : s.end].endswith('do not drink", and the utility brings clean water by truck.')
        for s in digest.sentences
    )


def test_a_digest_survives_json() -> None:
    digest = read_source(WATER, format="markdown", name="water.md")
    assert msgspec.json.decode(msgspec.json.encode(digest), type=Digest) == digest


def test_a_digest_is_smaller_than_its_text() -> None:
    assert len(msgspec.json.encode(read_source(WATER, format="markdown", name="water.md"))) < len(WATER)


def test_headings_of_every_common_style_are_found() -> None:
    body = f"\n\n{FILLER}\n\n"
    markdown = f"# One{body}Two\n---{body}### Three ###{body}"
    assert _titles(markdown, "markdown") == [("One", 1), ("Two", 2), ("Three", 3)]
    plain = f"THE WHOLE{body}1. First Part{body}1.1 Detail{body}2. Second Part{body}"
    assert _titles(plain, "text") == [
        ("THE WHOLE", 1),
        ("1. First Part", 2),
        ("1.1 Detail", 3),
        ("2. Second Part", 2),
    ]
    underlined = f"Title\n====={body}Section\n-------{body}Part\n~~~~{body}"
    assert _titles(underlined, "text") == [("Title", 1), ("Section", 2), ("Part", 3)]


def _titles(text: str, format: str) -> list[tuple[str, int]]:
    digest = read_source(text, format=format, name="x")  # type: ignore[arg-type]
    return [(section.title, section.level) for section in digest.sections if section.level]


def test_numbered_steps_become_procedures_and_numbered_headings_do_not() -> None:
    digest = read_source(WATER, format="markdown", name="water.md")
    assert [len(procedure.steps) for procedure in digest.procedures] == [7, 6, 4]
    start, end = digest.procedures[1].steps[0]
    assert WATER[start:end] == "Close the inlet valve and let the water level fall to just above the sand."


def test_definitions_are_found_with_their_sentence() -> None:
    concepts = {c.term: c for c in read_source(WATER, format="markdown", name="water.md").concepts}
    assert concepts["coagulation"].phrase == (
        "the addition of a chemical that cancels the electric charge of the particles"
    )
    assert {"turbidity", "groundwater", "head loss", "activated carbon", "Cryptosporidium"} <= concepts.keys()
    assert not {"it", "dose", "plates", "method", "plant"} & concepts.keys()


def test_keyphrases_fall_in_weight_and_name_the_subject() -> None:
    phrases = read_source(WATER, format="markdown", name="water.md").keyphrases
    assert len(phrases) == 30
    assert phrases[0].text == "water"
    weights = [phrase.weight for phrase in phrases]
    assert weights[0] == 1.0
    assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        (
            "es",
            "El agua es una sustancia que se encuentra en la tierra y que todos necesitan para vivir. ",
        ),
        (
            "de",
            "Das Wasser ist ein Stoff, der auf der Erde vorkommt und den alle Lebewesen zum Leben brauchen. ",
        ),
        ("fr", "L'eau est une substance que l'on trouve sur la terre et dont les êtres vivants ont besoin. "),
        ("cs", "Voda je látka, která se nachází na zemi a kterou všechny živé bytosti potřebují k životu. "),
        ("en", FILLER),
    ],
)
def test_the_language_is_detected(language: str, text: str) -> None:
    assert read_source(text * 8, format="text", name="x").language == language
